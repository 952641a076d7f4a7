"""What people see: plain HTML forms, templates, texts in English and Spanish."""

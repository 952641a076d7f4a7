"""One file per grant_type: request and record → decision."""

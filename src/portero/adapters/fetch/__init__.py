"""HTTP fetches of key sets, discovery documents and feeds, sync and async."""

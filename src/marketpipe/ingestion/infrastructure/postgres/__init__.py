"""The state in PostgreSQL, for what runs on several machines. It needs the extra ``postgres``."""

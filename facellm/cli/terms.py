"""Names that the command line's help and its work share."""

TITLES = {"base": "Base", "facellm": "FaceLLM"}
TABLES = (".csv", ".jsonl", ".parquet")  # what --out can end in

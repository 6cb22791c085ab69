"""`python -m llm_app` is `llm-app`."""

from llm_app.cli import main

main()

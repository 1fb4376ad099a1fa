.PHONY: check test fast docs
check:          ## style and types
	ruff check . && ruff format --check . && mypy
test:           ## everything
	python -m pytest -n auto
fast:           ## what needs no training and no engine compilation: under 90 s
	python -m pytest -m "not slow" -n auto
docs:           ## the documentation site, in site/
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

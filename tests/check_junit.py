#!/usr/bin/env python3
"""Validates JUnit files against the schema of Jenkins (schemas/junit-10.xsd), and prints what is wrong.

    check_junit.py FILE...

Needs: lxml (requirements.txt).
"""
import sys
from pathlib import Path

from lxml import etree

schema = etree.XMLSchema(file=str(Path(__file__).parent / "schemas/junit-10.xsd"))
wrong = [f"{file}: {error}" for file in sys.argv[1:] if not schema.validate(etree.parse(file)) for error in schema.error_log]
sys.exit("\n".join(wrong) or 0)

#!/bin/sh
# protoc as the Python package grpcio-tools carries it; ZEROQ_PYTHON names the interpreter that has it.
exec "${ZEROQ_PYTHON:-python3}" -m grpc_tools.protoc "$@"

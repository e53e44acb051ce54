#!/bin/sh
# Starts the server with the key of a secret, where there is one; arguments are those of `python -m fas_serve`.
set -eu
if [ -z "${FAS_API_KEY:-}" ] && [ -r /run/secrets/fas_api_key ]; then
    FAS_API_KEY=$(cat /run/secrets/fas_api_key)
    export FAS_API_KEY
fi
exec python -m fas_serve --host 0.0.0.0 "$@"

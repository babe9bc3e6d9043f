#!/bin/sh
# app.sh: one node of the app.
#   SHARED   the directory with http.keytab and session-keys    REDIS_URL  what the nodes share
#   LISTEN   address to listen at                               PORT
#   NODE     this node's name                                   STATE      its own files: replay cache, krb5.conf
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
. "$here/krb5.sh"
until [ -e "$SHARED/http.keytab" ]; do sleep 0.2; done
export KRB5_KTNAME="$SHARED/http.keytab" SESSION_KEYS="$SHARED/session-keys" KRB5RCACHEDIR="$STATE" REALM NODE REDIS_URL
exec "${PYTHON:-python3}" -m uvicorn --app-dir "$here" app:app --host "$LISTEN" --port "$PORT" \
  --http negotiate_mw.servers.uvicorn:Auto --no-access-log --no-proxy-headers

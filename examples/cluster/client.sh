#!/bin/sh
# client.sh: a user's day: get a ticket, log in, be known to the other node by the session, log out, be a stranger again.
#   SITE      http://host:port    PASSWORD  alice's    STATE  its own files
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
. "$here/krb5.sh"
export KRB5CCNAME="FILE:$STATE/tickets"
cookies="$STATE/cookies"
trap 'rm -f "$cookies" "$STATE/tickets"' EXIT
ask() { curl -sS --fail-with-body --noproxy '*' "$@"; }

tries=0 ready=0
until [ "$ready" -eq 6 ]; do # in a row, so that it is both nodes
  if curl -sf --noproxy '*' -o "$STATE/ready" "$SITE/readyz"; then ready=$((ready + 1)); else ready=0 && sleep 0.2; fi
  tries=$((tries + 1))
  [ "$tries" -lt 300 ] || { echo "client: $SITE doesn't get ready" >&2; exit 1; }
done
echo "$PASSWORD" | kinit alice >/dev/null

first=$(ask --negotiate -u : -c "$cookies" "$SITE/")
echo "with a ticket:   $first"
case $first in *'"user":"alice"'*) ;; *) echo "client: that isn't alice" >&2; exit 1 ;; esac

for node in one two; do # whichever it was that took the ticket, the session is known to both
  tries=0
  until answer=$(ask -b "$cookies" "$SITE/") && case $answer in *"\"node\":\"$node\""*) true ;; *) false ;; esac; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "client: node $node never answered" >&2; exit 1; }
    sleep 0.1
  done
  echo "by the session:  $answer"
done

ask -b "$cookies" -X POST "$SITE/logout" >/dev/null
sleep 1.2 # every node knows within a second
for _ in 1 2; do
  status=$(curl -s --noproxy '*' -o /dev/null -w '%{http_code}' -b "$cookies" "$SITE/")
  [ "$status" = 401 ] || { echo "client: $status after the log-out" >&2; exit 1; }
done
echo "logged out:      401 on both nodes"
echo "OK"

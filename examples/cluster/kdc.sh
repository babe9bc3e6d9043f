#!/bin/sh
# kdc.sh: a Kerberos realm with one user and one service. For trying things out: whoever has SHARED has its keys.
#   KDC           host:port to be reached at       SITE_HOST  the service is HTTP/SITE_HOST
#   KDC_LISTEN    port or address:port to listen at STATE     its own files
#   SHARED        where the service's keytab goes  PASSWORD   alice's
# In a company this is Active Directory or FreeIPA, and the keytab comes from there.
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
. "$here/krb5.sh"
umask 077
export KRB5_KDC_PROFILE="$STATE/kdc.conf"
cat >"$KRB5_KDC_PROFILE" <<END
[kdcdefaults]
  kdc_listen = ${KDC_LISTEN:-88}
  kdc_tcp_listen = ${KDC_LISTEN:-88}
[realms]
  $REALM = {
    database_name = $STATE/principal
    key_stash_file = $STATE/stash
    max_life = 10h
    supported_enctypes = aes256-cts:normal aes128-cts:normal
  }
[logging]
  kdc = STDERR
END
if [ ! -e "$STATE/stash" ]; then
  master=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s\n%s\n' "$master" "$master" | kdb5_util create -s -r "$REALM" >/dev/null
  printf '%s\n%s\n' "$PASSWORD" "$PASSWORD" | kadmin.local -r "$REALM" addprinc alice >/dev/null
  kadmin.local -r "$REALM" addprinc -randkey "HTTP/$SITE_HOST" >/dev/null
fi
if [ ! -e "$SHARED/http.keytab" ]; then
  rm -f "$SHARED/http.keytab.new"
  kadmin.local -r "$REALM" ktadd -norandkey -k "$SHARED/http.keytab.new" "HTTP/$SITE_HOST" >/dev/null
  [ ! -e "$SHARED/session-keys" ] && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$SHARED/session-keys"
  if [ -n "${APP_UID:-}" ]; then
    chown "$APP_UID" "$SHARED" "$SHARED/http.keytab.new" "$SHARED/session-keys"
  fi
  mv "$SHARED/http.keytab.new" "$SHARED/http.keytab" # whole, or not there at all
fi
exec krb5kdc -n -r "$REALM"

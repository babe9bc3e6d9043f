# shellcheck shell=sh
# Sourced by the other scripts: a krb5.conf for the realm's members, in the directory STATE.
: "${REALM:=CLUSTER.EXAMPLE}" "${KDC:?host:port}" "${STATE:?a directory of our own}"
export PATH="$PATH:/usr/sbin:/sbin" KRB5_CONFIG="$STATE/krb5.conf"
mkdir -p "$STATE"
cat >"$KRB5_CONFIG" <<END
[libdefaults]
  default_realm = $REALM
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
[realms]
  $REALM = {
    kdc = $KDC
  }
[domain_realm]
  ${SITE_HOST:-localhost} = $REALM
END

# What the pages' sh blocks find in place of the commands. They really run, with the names of an example led to what is
# here: a server stays, on a port of its own, until the page ends; curl goes to the server that was started last; files
# said to be in /etc are those of the page's folder, and Redis is the one here.
set -Eeuo pipefail
trap 'echo "in the block at line ${line:-?}" >&2' ERR

_serve() { # COMMAND...: with a free port; come back when it listens
  local port tries=0
  port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  command "${@//PORT/$port}" >server.log 2>&1 </dev/null &
  until (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    ((tries += 1, tries < 600)) && kill -0 $! 2>/dev/null || { cat server.log >&2; return 1; }
    sleep 0.05
  done
  echo "$port" >"$DOCS_PORT"
}
uvicorn() { _serve uvicorn "$@" --host 127.0.0.1 --port PORT; }
hypercorn() { _serve hypercorn "$@" --bind 127.0.0.1:PORT; }
gunicorn() { _serve gunicorn "$@" --bind 127.0.0.1:PORT; }
granian() { _serve granian "$@" --host 127.0.0.1 --port PORT; }

negotiate-mw() {
  set -- "${@/#\/etc\//$PWD/etc/}"
  if [[ -n ${NEGOTIATE_MW_REDIS_URL:-} ]]; then
    local -x NEGOTIATE_MW_REDIS_URL=$REDIS_URL NEGOTIATE_MW_SESSION_KEYS=$SESSION_KEY
    if [[ ${!#} == ID ]]; then # of a session that is there
      command curl -sSf --negotiate -u : "$DOCS_URL" >/dev/null
      set -- "${@:1:$#-1}" "$(command negotiate-mw sessions list | head -n 1 | cut -f 1)"
    fi
  fi
  if [[ $1 == forward-auth ]]; then
    _serve negotiate-mw "$@" --host 127.0.0.1 --port PORT
  else
    command negotiate-mw "$@"
  fi
}

curl() {
  local fail=()
  [[ " $* " != *" --negotiate "* ]] || fail=(--fail) # or a refused log-in would be a success
  command curl -sS "${fail[@]}" --connect-to "::127.0.0.1:$(<"$DOCS_PORT")" "$@"
}

kinit() { command kinit "$@" <<<"$DOCS_PASSWORD" >/dev/null; }

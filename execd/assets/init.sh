#!/bin/sh
# Keeps execd running: usage init.sh DIR COMMAND…, where DIR is the exchange directory (lib/api/guest.ts).
#
# execd's end is the end of the sandbox only if execd says so, by DIR/exit.json. Killed by anything else it is started again,
# and finds what it needs to go on in the file behind descriptor 9, which has no name that anyone could open.

dir=$1
shift
exec 9<>"$dir/.state"
rm -f "$dir/.state"
export EXECD_STATE_FD=9

child=
stopping=
stop() {
  stopping=yes
  [ -n "$child" ] && kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT

failures=0
while :; do
  "$@" &
  child=$!
  wait "$child"
  status=$?
  # A signal ends the wait and not the child.
  while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
  done
  [ -n "$stopping" ] && exit "$status"
  [ -e "$dir/exit.json" ] && exit "$status"
  if [ -e "$dir/ready.json" ]; then
    failures=0
    rm -f "$dir/ready.json"
  else
    failures=$((failures + 1))
  fi
  # What cannot even start is not helped by another try.
  [ "$failures" -ge 3 ] && exit "$status"
  echo "execd ended with $status and is started again" >&2
done

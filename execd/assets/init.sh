#!/bin/sh
# Keeps execd running: usage init.sh DIR COMMAND…, where DIR is the exchange directory (lib/api/guest.ts).
#
# execd's end is the end of the sandbox only if execd says so, by DIR/exit.json. Killed by anything else it is started again,
# and finds what it needs to go on in the file behind descriptor 9, whose name it removes. Only what a shell has by itself is used
# here: the image may have no programs at all.

dir=$1
shift
exec 9<>"$dir/.state"
export EXECD_STATE_FD=9

child=
stopping=
EXECD_STOPPING=
stop() {
  stopping=yes
  [ -n "$child" ] && kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT

failures=0
while :; do
  "$@" &
  child=$!
  # Told between the start and here, it would not have known whom to tell.
  [ -n "$stopping" ] && [ -z "$EXECD_STOPPING" ] && kill -TERM "$child" 2>/dev/null
  wait "$child"
  status=$?
  # A signal ends the wait and not the child.
  while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
  done
  [ -e "$dir/exit.json" ] && exit "$status"
  if [ -n "$stopping" ]; then
    # Told to stop while it came back, or killed while it stopped, it has one more life to end in order what runs.
    [ -n "$EXECD_STOPPING" ] && exit "$status"
    export EXECD_STOPPING=yes
  fi
  # execd removes it as soon as it runs and writes it when it is ready.
  if [ -e "$dir/ready.json" ]; then
    failures=0
  else
    failures=$((failures + 1))
  fi
  # What cannot even start is not helped by another try.
  [ "$failures" -ge 3 ] && exit "$status"
  echo "execd ended with $status and is started again" >&2
done

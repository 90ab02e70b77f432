# The long-lived shell of an isolated session. What it runs, and how that ended, goes over descriptor 7, apart from everything that
# the code reads and writes (I3). Requests are one line and then the code, by its length in bytes:
#
#   run ID BYTES OUT ERR        in this shell itself; OUT and ERR are pipes by name
#   start ID BYTES OUT          in a shell of its own, in the background, as a copy of this one
#
# and answers one line each: `ready`, `end ID STATUS`, `started ID PID`, `failed ID`. Everything here is done so that the code can be
# anything: it may exit, break out of loops, redirect the shell, set options, or replace the shell by a program.
#
# It is evaluated in the first line of a shell (execd/isolated/shell.ts), so that the lines that errors name are those of the code.

exec 250<&7 7<&- </dev/null >/dev/null 2>&1
SHLVL=1
builtin unset __execd_run __execd_code

# What execd's signal does when the code has to stop: from then on each command is skipped, and with it the loops or the function
# that it is in. A command that names something of ours is one of ours. Between two runs it does nothing: it may have been sent before
# execd had heard of the end.
__execd_return_two() { builtin return 2; }
__execd_skip='
if [[ $BASH_COMMAND == *__execd_* ]]; then builtin :
elif [[ -n ${FUNCNAME-} ]]; then __execd_return_two
else ! builtin break 9999 2>/dev/null; fi'
__execd_stop='
[[ -z $__execd_run ]] || { builtin shopt -s extdebug; builtin set -T; builtin trap "$__execd_skip" DEBUG; }'

# An exit takes the shell's own state along into another shell: it ends the run and not the session.
__execd_exit='
{
  __execd_status=$? __execd_flags=$-
  builtin set +Tevx
  builtin trap - EXIT DEBUG
  exec 249< <(
    builtin shopt -p; builtin declare -p; builtin declare -f; builtin declare -Fx; builtin alias -p; builtin trap -p
    builtin umask -p; builtin set +o
  )
  __EXECD_RESUME="$__execd_run $__execd_status $__execd_flags"
  builtin export __EXECD_RESUME
  exec -a bash "$BASH" --noprofile --norc -c "$BASH_EXECUTION_STRING" bash
} </dev/null >/dev/null 2>&1'

# Tells how the last run ended and waits for the next one.
__execd_next() {
  # A shell that took over has its status from the one before.
  __execd_status=${__execd_ended:-$?}
  __execd_ended=
  __execd_done=$__execd_run
  __execd_run=
  __execd_own= builtin trap - DEBUG
  builtin shopt -u extdebug
  __execd_flags=$-
  builtin set +Tevx
  [[ -z $__execd_done ]] || builtin printf 'end %s %s\n' "$__execd_done" "$__execd_status" >&250
  exec </dev/null >/dev/null
  while IFS=' ' builtin read -r -u 250 __execd_kind __execd_id __execd_bytes __execd_out __execd_err; do
    # Only what somebody else has made execd say, who can reach the descriptor, is anything else.
    [[ $__execd_kind == run || $__execd_kind == start ]] || continue
    __execd_code=
    LC_ALL=C builtin read -r -N "$__execd_bytes" -u 250 __execd_code
    if [[ $__execd_kind == start ]]; then
      # In a process group of its own, so that nothing meant for the shell's foreground reaches it.
      builtin set -m
      (
        builtin set +m
        builtin trap - RTMAX-1
        builtin trap 'builtin printf "failed %s\n" "$__execd_id" >&250' EXIT
        exec </dev/null >|"$__execd_out" 2>&1
        builtin trap - EXIT
        # Only now does somebody else hold the pipe of its output.
        builtin printf 'started %s %s\n' "$__execd_id" "$BASHPID" >&250
        (builtin eval "$__execd_code")
        builtin printf 'end %s %s\n' "$__execd_id" "$?" >&250
      ) &
      builtin set +m
      continue
    fi
    __execd_run=$__execd_id
    case $__execd_flags in *e*) __execd_code="builtin set -e;$__execd_code" ;; esac
    case $__execd_flags in *v*) __execd_code="builtin set -v;$__execd_code" ;; esac
    case $__execd_flags in *x*) __execd_code="builtin set -x;$__execd_code" ;; esac
    return 0
  done
  # execd is gone.
  builtin trap - EXIT
  builtin kill -KILL "$BASHPID"
}

# The code's `$?` is that of the run before.
__execd_set_status() { builtin return "$__execd_status"; }

# In one line, as the lines of the code are counted from it. It goes on by itself after its end: the code may break out of it.
__execd_loop='while { __execd_next; } 2>/dev/null; do exec >|"$__execd_out" 2>|"$__execd_err"; __execd_set_status; '
__execd_loop+='builtin eval "$__execd_code"; done; builtin eval "$__execd_loop"'

if [[ -n ${__EXECD_RESUME-} ]]; then
  builtin source /dev/fd/249
  exec 249<&-
  IFS=' ' builtin read -r __execd_run __execd_ended __execd_flags <<<"$__EXECD_RESUME"
  builtin unset __EXECD_RESUME
else
  __execd_run= __execd_ended= __execd_flags=
  builtin printf 'ready\n' >&250
fi
builtin trap "$__execd_stop" RTMAX-1
builtin trap "$__execd_exit" EXIT
[[ $__execd_flags != *e* ]] || builtin set -e
[[ $__execd_flags != *x* ]] || builtin set -x

#!/bin/sh
# Exit with 1, and one line that says what is missing, if the emulated CUDA cannot be built here.
#
#   sh requirements.sh [<python>]
python=${1:-python3}
missing=""
lacks() { missing="$missing${missing:+; }$1"; }

[ "$(uname -s)" = Linux ] || lacks "Linux (this is $(uname -s))"
if [ "$(uname -m)" != x86_64 ]; then
    lacks "an x86-64 processor (this is $(uname -m))"
elif [ -r /proc/cpuinfo ] && ! grep -qw f16c /proc/cpuinfo; then
    lacks "a processor with F16C"
fi
version=$(g++ -dumpversion 2>/dev/null | cut -d. -f1)
if [ -z "$version" ]; then
    lacks "g++ 12 or newer"
elif [ "$version" -lt 12 ]; then
    lacks "g++ 12 or newer (g++ is version $version)"
fi
for tool in gcc nm flock sha256sum; do
    command -v "$tool" >/dev/null || lacks "$tool"
done
if ! command -v "$python" >/dev/null; then
    lacks "$python"
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    lacks "Python 3.11 or newer"
else
    "$python" -c 'import venv, ensurepip' 2>/dev/null || lacks "Python's venv"
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -e "$include/Python.h" ] || lacks "Python's headers ($include/Python.h)"
fi
[ -z "$missing" ] || { echo "the emulated CUDA cannot be built here; missing: $missing" >&2; exit 1; }

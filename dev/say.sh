# Sourced by the scripts: how they speak to whoever started them.

# say TEXT: progress, on standard error, so that standard output holds results only.
say() { printf '%s\n' "$*" >&2; }

# die TEXT: what went wrong and what to do next; ends the script.
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# without_hosts: a filter for the output of package tools. Which registry or mirror a machine uses is its
# own business and does not belong into logs that are kept.
without_hosts() { sed -uE 's#https?://[^/[:space:]"'"'"'`]+#(the package registry)#g; s#(index|registry) `[^`]*`#\1#g'; }

#!/bin/bash
# Copies README.md and docs/ side by side into a folder, as the packages have
# them, with links that lead somewhere there. What only the repository has keeps
# its text and loses its link.
#
#   docs.sh DIR
set -eu -o pipefail
cd "$(dirname "$0")/.."

for page in README.md docs/*.md; do
    sed -E -e 's,\]\((docs/|\.\./)([a-zA-Z]+\.md),](\2,g' \
        -e 's,!?\[([^]]*)\]\([a-z]+\.(png|jsonl)\),\1,g' \
        -e 's,\[([^]]*)\]\((\.\./)?(LICENSE|Makefile|[a-z]+/[^)]*)\),\1,g' "$page" >"$1/${page##*/}"
done

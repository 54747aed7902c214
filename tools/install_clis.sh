#!/bin/sh
# Install what the tests drive beside Aider into .tools, in the versions that it was tried on: Claude Code and Codex, and
# forgepair, a second distribution of the module `aider`. The packages with the native binaries are installed directly:
# those in front of them choose an older version for an older node.
set -eu
cd "$(dirname "$0")/.."
CLAUDE=2.1.332 CODEX=0.171.0 FORGEPAIR=1.0.3
case $(uname -s)-$(uname -m) in
Linux-x86_64) system=linux-x64 ;;
Linux-aarch64) system=linux-arm64 ;;
Darwin-x86_64) system=darwin-x64 ;;
Darwin-arm64) system=darwin-arm64 ;;
*) echo "there is no Claude Code and Codex for $(uname -s) $(uname -m)" >&2 && exit 1 ;;
esac
if [ "$(cat .tools/versions 2>/dev/null)" = "$CLAUDE $CODEX $FORGEPAIR" ]; then exit 0; fi
mkdir -p .tools/bin
echo '{"private": true}' >.tools/package.json
(cd .tools && npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel error \
    "@anthropic-ai/claude-code-$system@$CLAUDE" "@openai/codex@$CODEX-$system")
ln -sf "$PWD/.tools/node_modules/@anthropic-ai/claude-code-$system/claude" .tools/bin/claude
ln -sf "$(find "$PWD/.tools/node_modules/@openai/codex/vendor" -path '*/bin/codex' -type f)" .tools/bin/codex
"$(sh tools/find_python.sh)" -m venv --clear .tools/forgepair
.tools/forgepair/bin/python -m pip install -q --disable-pip-version-check "forgepair==$FORGEPAIR"
echo "$CLAUDE $CODEX $FORGEPAIR" >.tools/versions

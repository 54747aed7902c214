# make change CHANGE="what to change" ARGS="--files src --test-cmd 'make test'"
change: export override CHANGE := $(value CHANGE)
change:
	@exec aider-orchestrator --change="$$CHANGE" $(ARGS)
.PHONY: change

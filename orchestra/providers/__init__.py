"""The providers of models: what they offer and cost, and what their keys look like. Pure."""

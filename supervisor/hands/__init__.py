"""The tools that workers are given, each within its bounds: nothing here is imported unused."""

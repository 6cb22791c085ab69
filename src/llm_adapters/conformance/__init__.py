"""What a vendor runs against an own adapter: `pytest --pyargs llm_adapters.conformance`.

The tests know the ports of the core and nothing else. What they need of the outside, a device that can be told what to
measure, a disk, a CPO, comes with the adapter as a *bench* (`benches.py`). Benches are named in the environment,
`LLM_CONFORMANCE=package.module:Bench`, several with commas between, or by entry points in the group
`local_load_manager.conformance`. Where none is named, the smallest adapters that hold what they promise are tried
(`smallest.py`): they are what to begin from.
"""

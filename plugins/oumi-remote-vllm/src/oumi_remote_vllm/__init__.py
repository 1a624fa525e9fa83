"""vLLM servers for oumi-core: the engine `remote-vllm`.

`oumi_remote_vllm.engine.RemoteVLLMEngine` is the engine.
"""

"""Chat-completions servers for oumi-core, over HTTP.

`oumi_http.engine.ChatCompletionsEngine` is what the plugin of a provider subclasses or only
configures; `oumi_http.remote.RemoteEngine` is the engine `remote`, for any server of the format.
"""

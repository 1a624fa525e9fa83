"""OpenAI and Azure OpenAI for oumi-core: the engine `openai`.

`oumi_openai.engine.OpenAIEngine` is the engine; `oumi_openai.strict_schema.strict_form` turns a
JSON Schema into one that OpenAI's strict mode takes, or says what is in the way.
"""

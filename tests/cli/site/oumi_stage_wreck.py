raise RuntimeError("the scenery fell")

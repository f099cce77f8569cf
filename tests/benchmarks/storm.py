async def run(bench, scale):
    return True

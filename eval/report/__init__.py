def build_report(folder, audio=None, clip_pages=40, progress=True):
    return folder

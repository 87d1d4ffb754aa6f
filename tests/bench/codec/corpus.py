"""Makes the corpus: photographs of Debian's mate-backgrounds at sizes and qualities of the web.

    corpus.py <folder with the photographs> <folder for the results>
"""
import os
import sys

from PIL import Image

photographs, results = sys.argv[1:]
for name in sorted(os.listdir(photographs)):
    image = Image.open(os.path.join(photographs, name)).convert('RGB')
    for side in (800, 1600, 3000):
        scale = side / max(image.size)
        if scale >= 1:
            # A picture that was made larger is not what a camera gives.
            continue
        small = image.resize((round(image.width * scale), round(image.height * scale)), Image.LANCZOS)
        for quality in (75, 85, 95):
            for kind, progressive in (('baseline', False), ('progressive', True)):
                path = os.path.join(results, f'{name[:-4]}-{side}-{quality}-{kind}.jpg')
                small.save(path, quality=quality, progressive=progressive)
        if side == 1600:
            # As cameras and image editors save them: most of these have 0.7 bytes a pixel and more.
            small.save(os.path.join(results, f'{name[:-4]}-{side}-98-444.jpg'), quality=98, subsampling=0)

"""Makes the corpus: photographs of Debian's mate-backgrounds at the sizes of product images.

    corpus.py <folder with the photographs> <folder for the results>

No two files are alike, as what is stored is named by its content. One in four is progressive.
"""
import glob
import os
import sys

from PIL import Image

photographs, results = sys.argv[1:]
made = 0
for path in sorted(glob.glob(os.path.join(photographs, '**', '*.jpg'), recursive=True)):
    name = os.path.basename(path)[:-4]
    if name.startswith('Elephants_'):
        # Scans of a picture that is there already, at many times the size of the others.
        continue
    image = Image.open(path).convert('RGB')
    for side in range(800, 1600, 65):
        scale = side / max(image.size)
        if scale >= 1:
            # A picture that was made larger is not what a camera gives.
            continue
        small = image.resize((round(image.width * scale), round(image.height * scale)), Image.LANCZOS)
        for quality in (75, 85, 95):
            small.save(os.path.join(results, f'{name}-{side}-{quality}.jpg'), quality=quality,
                       progressive=made % 4 == 3)
            made += 1
with open(os.path.join(results, 'tiny.jpg'), 'wb') as file:
    Image.new('RGB', (8, 8)).save(file, 'JPEG')

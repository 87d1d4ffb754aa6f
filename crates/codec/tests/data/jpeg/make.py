#!/usr/bin/env python3
"""Makes the JPEG files beside it. Needs Pillow, and cjpeg and jpegtran of libjpeg-turbo 2.1.

The picture is computed, so no photograph's licence matters: slopes, rings, hard edges and noise.
"""
import math
import os
import random
import subprocess

from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
PNM = '/tmp/imagebatch-fixture.ppm'


def picture(width, height):
    noise = random.Random(1)
    image = Image.new('RGB', (width, height))
    for y in range(height):
        for x in range(width):
            ring = 60 * math.sin(math.hypot(x - 20, y - 15) / 2)
            red, green, blue = 128 + ring, 40 + 3 * x, 200 - 2 * y + ring / 2
            if x > width * 0.6 and y > height / 2:
                red, green, blue = 230, 30, 40 + x
            grain = noise.gauss(0, 6)
            image.putpixel((x, y), tuple(max(0, min(255, int(v + grain))) for v in (red, green, blue)))
    return image


def write(name, tool, *options, source=None):
    path = os.path.join(HERE, name)
    subprocess.run([tool, *options, '-outfile', path, source or PNM], check=True)
    return path


def script(text):
    path = '/tmp/imagebatch-fixture.scans'
    with open(path, 'w') as file:
        file.write(text)
    return path


def main():
    picture(83, 61).save(PNM)
    base = ['-quality', '90', '-sample']
    for name, sample in {
        '444': '1x1,1x1,1x1',
        '422': '2x1,1x1,1x1',
        '420': '2x2,1x1,1x1',
        '440': '1x2,1x1,1x1',
        '411': '4x1,1x1,1x1',
        '410': '4x2,1x1,1x1',
        '422-tall': '2x2,1x2,1x2',
        '444-tall': '1x2,1x2,1x2',
        '311': '3x1,1x1,1x1',
        'uneven': '2x2,2x1,1x1',
    }.items():
        write(f'{name}.jpg', 'cjpeg', *base, sample)
    write('420-optimized.jpg', 'cjpeg', '-optimize', *base, '2x2')
    write('444-restart.jpg', 'cjpeg', '-restart', '1B', *base, '1x1')
    write('420-restart.jpg', 'cjpeg', '-restart', '3B', *base, '2x2')
    write('422-q100.jpg', 'cjpeg', '-quality', '100', '-sample', '2x1')
    write('grey.jpg', 'cjpeg', '-grayscale', '-quality', '90')
    write('rgb.jpg', 'cjpeg', '-rgb', '-quality', '90')
    write('arithmetic.jpg', 'cjpeg', '-arithmetic', '-quality', '90')
    plain = os.path.join(HERE, '420.jpg')
    for name in ('444', '422', '420', '440', 'uneven', 'grey', '422-q100'):
        write(f'{name}-progressive.jpg', 'jpegtran', '-progressive', source=os.path.join(HERE, f'{name}.jpg'))
    write('420-progressive-restart.jpg', 'jpegtran', '-progressive', '-restart', '2B', source=plain)
    write('420-separate.jpg', 'jpegtran', '-scans', script('0; 1; 2;'), source=plain)
    write('420-separate-restart.jpg', 'jpegtran', '-restart', '2B', '-scans', script('2; 0; 1;'), source=plain)
    write('420-mixed.jpg', 'jpegtran', '-scans', script('0; 1 2;'), source=plain)
    write('420-spectral.jpg', 'jpegtran', '-scans', script(
        '0 1 2: 0-0, 0, 0; 0: 1-2, 0, 0; 0: 3-63, 0, 0; 1: 1-63, 0, 0; 2: 1-63, 0, 0;'), source=plain)
    write('420-successive.jpg', 'jpegtran', '-scans', script(
        '0: 0-0, 0, 3; 1 2: 0-0, 0, 2; 0: 0-0, 3, 2; 0: 0-0, 2, 1; 0: 0-0, 1, 0; 1 2: 0-0, 2, 1; 1 2: 0-0, 1, 0;'
        '0: 1-9, 0, 3; 0: 10-63, 0, 3; 0: 1-63, 3, 2; 0: 1-63, 2, 1; 0: 1-63, 1, 0;'
        '1: 1-63, 0, 1; 2: 1-63, 0, 1; 1: 1-63, 1, 0; 2: 1-63, 1, 0;'), source=plain)
    for width, height in ((1, 1), (8, 8), (9, 17), (16, 16), (33, 7)):
        picture(width, height).save(PNM)
        for name, sample in (('444', '1x1'), ('420', '2x2')):
            write(f'{name}-{width}x{height}.jpg', 'cjpeg', *base, sample)


main()

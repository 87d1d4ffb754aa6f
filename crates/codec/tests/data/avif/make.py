#!/usr/bin/env python3
"""Makes the AVIF files beside it. Needs Pillow 12, and avifenc of libavif 0.11 (Debian's libavif-bin).

The picture is computed, so no photograph's licence matters. Every file shows picture.png, but grid.avif and
its like, which show grid.png; both have an alpha channel, which only the files named so have.
"""
import math
import os
import subprocess
import tempfile

from PIL import Image, ImageCms

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = b'48.8584N 2.2945E'


def picture(width, height):
    image = Image.new('RGBA', (width, height))
    for y in range(height):
        for x in range(width):
            ring = 60 * math.sin(math.hypot(x - 20, y - 15) / 6)
            red, green, blue = 128 + ring, 60 + x, 200 - y + ring / 2
            if x > width * 0.6 and y > height / 2:
                red, green, blue = 230, 30, 40 + x
            alpha = max(0, min(255, 4 * (x - 5)))
            image.putpixel((x, y), (*(max(0, min(255, int(v))) for v in (red, green, blue)), alpha))
    return image


def main():
    os.chdir(HERE)
    soft, grid = picture(67, 45), picture(128, 128)
    soft.save('picture.png')
    grid.save('grid.png')
    with tempfile.TemporaryDirectory() as folder:
        def temporary(name):
            return os.path.join(folder, name)

        soft.convert('RGB').save(temporary('opaque.png'))
        soft.convert('L').save(temporary('grey.png'))
        grid.convert('RGB').save(temporary('grid.png'))
        with open(temporary('exif'), 'wb') as file:
            file.write(b'II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0' + SECRET)
        with open(temporary('xmp'), 'wb') as file:
            file.write(b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + SECRET + b'</x:xmpmeta>')
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
        with open(temporary('icc'), 'wb') as file:
            file.write(profile)

        def avifenc(name, *options, source='opaque.png', best=4):
            levels = ['--min', '0', '--max', str(best), '--minalpha', '0', '--maxalpha', '0']
            source = source if source in ('picture.png', 'grid.png') else temporary(source)
            command = ['avifenc', '-s', '6', '-c', 'aom', *levels, *options, source, name + '.avif']
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        avifenc('420', '-y', '420', best=20)
        avifenc('422', '-y', '422')
        avifenc('444', '-y', '444')
        avifenc('grey', '-y', '400')
        avifenc('10-bit', '-y', '420', '-d', '10')
        avifenc('12-bit', '-y', '444', '-d', '12')
        avifenc('limited', '-y', '444', '-r', 'limited', '--cicp', '1/13/1')
        avifenc('lossless', '--lossless')
        avifenc('alpha', '-y', '444', source='picture.png')
        avifenc('alpha-premultiplied', '-y', '444', '-p', source='picture.png')
        avifenc('alpha-10-bit', '-y', '444', '-d', '10', source='picture.png')
        avifenc('metadata', '-y', '444', '--exif', temporary('exif'), '--xmp', temporary('xmp'), '--icc', temporary('icc'))
        avifenc('p3', '-y', '444', '--cicp', '12/13/6')
        avifenc('hdr', '-y', '444', '-d', '10', '--cicp', '9/16/9')
        avifenc('clap', '-y', '444', '--crop', '2,2,40,30')
        for angle, axis in ((1, None), (2, None), (3, None), (0, 0), (0, 1), (1, 0), (1, 1)):
            turn = ['--irot', str(angle)] if angle else []
            mirror = ['--imir', str(axis)] if axis is not None else []
            avifenc(f'turned-{angle}{"" if axis is None else axis}', '-y', '444', *turn, *mirror)
        avifenc('grid', '-y', '420', '-g', '2x2', source=temporary('grid.png'))
        avifenc('grid-alpha', '-y', '444', '-g', '2x1', source='grid.png')
        frames = [temporary(f'{at}.png') for at in range(2)]
        for at, frame in enumerate(frames):
            soft.convert('RGB').rotate(180 * at).save(frame)
        subprocess.run(['avifenc', '-s', '8', *frames, 'animated.avif'], check=True, stdout=subprocess.DEVNULL)
    exif = Image.Exif()
    exif[0x0112] = 6
    soft.convert('RGB').save('pillow.avif', quality=95, subsampling='4:4:4', exif=exif, icc_profile=profile)


main()

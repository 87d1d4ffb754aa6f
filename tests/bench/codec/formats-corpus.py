"""Makes the pictures of `formats`: product-like photographs at sizes of the web, and graphics with alpha.

    formats-corpus.py <folder with the photographs> <folder for the results>
"""
import os
import random
import sys

from PIL import Image, ImageDraw, ImageFilter, ImageFont

photographs, results = sys.argv[1:]


def photograph(name, side):
    image = Image.open(os.path.join(photographs, f'{name}.jpg')).convert('RGB')
    scale = side / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.LANCZOS)


def smooth(draw, size, scale=4):
    """Draws larger, then scales down: soft edges, as a drawing program exports them."""
    image = Image.new('RGBA', (size[0] * scale, size[1] * scale), (255, 255, 255, 0))
    draw(ImageDraw.Draw(image), scale)
    return image.resize(size, Image.LANCZOS)


def logo(draw, scale):
    draw.ellipse([20 * scale, 20 * scale, 280 * scale, 280 * scale], fill=(214, 40, 40, 255))
    draw.ellipse([90 * scale, 90 * scale, 210 * scale, 210 * scale], fill=(255, 255, 255, 0))
    font = ImageFont.load_default(size=110 * scale)
    draw.text((310 * scale, 80 * scale), 'Nordlicht', fill=(29, 53, 87, 255), font=font)


def diagram(draw, scale):
    random.seed(7)
    for row in range(12):
        shade = tuple(random.randrange(40, 230) for _ in range(3))
        draw.rectangle([180 * scale, (20 + 45 * row) * scale, random.randrange(300, 780) * scale, (52 + 45 * row) * scale],
                       fill=(*shade, 255))
        draw.text((20 * scale, (22 + 45 * row) * scale), f'Item {row + 1}', fill=(20, 20, 20, 255),
                  font=ImageFont.load_default(size=26 * scale))


def main():
    for name in ('LadyBird', 'Wood', 'FreshFlower', 'Garden'):
        for side in (800, 1600):
            photograph(name, side).save(os.path.join(results, f'photograph-{name}-{side}.png'))
    smooth(logo, (840, 300)).save(os.path.join(results, 'graphic-logo.png'))
    smooth(diagram, (800, 580)).save(os.path.join(results, 'graphic-diagram.png'))
    # A product cut out, with a soft edge, and one with its shadow.
    product = photograph('YellowFlower', 800).convert('RGBA')
    mask = Image.new('L', product.size)
    box = [product.width // 5, product.height // 8, product.width * 4 // 5, product.height * 7 // 8]
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    product.putalpha(mask.filter(ImageFilter.GaussianBlur(1.5)))
    product.save(os.path.join(results, 'graphic-cutout.png'))
    shadow = Image.new('RGBA', product.size, (0, 0, 0, 0))
    shadow.putalpha(mask.filter(ImageFilter.GaussianBlur(18)).point(lambda value: value // 2))
    Image.alpha_composite(shadow, product).save(os.path.join(results, 'graphic-shadow.png'))


main()

"""The same work with Python: Pillow, httpx and boto3, as somebody who knows them would write it.

    pillow-worker.py <input.csv> <output.csv> <key prefix> <quality> <default|optimize> <threads>
"""
import csv
import hashlib
import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
import httpx
from botocore.config import Config
from PIL import Image

source, target, prefix, quality, mode, threads = sys.argv[1:]
threads = int(threads)
bucket = os.environ['IMAGEBATCH_STORAGE_BUCKET']
http = httpx.Client(limits=httpx.Limits(max_connections=threads, max_keepalive_connections=threads), trust_env=False)
s3 = boto3.client(
    's3',
    endpoint_url=os.environ['IMAGEBATCH_S3_ENDPOINT'],
    region_name='us-east-1',
    aws_access_key_id=os.environ['IMAGEBATCH_S3_ACCESS_KEY_ID'],
    aws_secret_access_key=os.environ['IMAGEBATCH_S3_SECRET_ACCESS_KEY'],
    # Without the first, each body is hashed a second time.
    config=Config(request_checksum_calculation='when_required', max_pool_connections=threads,
                  s3={'addressing_style': 'path'}),
)


def process_image(url):
    original = http.get(url).raise_for_status().content
    image = Image.open(io.BytesIO(original))
    if image.mode != 'RGB':
        image = image.convert('RGB')
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', quality=int(quality), optimize=mode == 'optimize')
    data = buffer.getvalue() if buffer.tell() < len(original) else original
    key = f'{prefix}/{hashlib.sha256(data).hexdigest()}/{url.rsplit("/", 1)[-1]}'
    s3.put_object(Bucket=bucket, Key=key, Body=data, ContentType='image/jpeg',
                  CacheControl='public, max-age=31536000, immutable', IfNoneMatch='*')
    return f'https://cdn.example/{key}'


with open(source, newline='') as file:
    header, *rows = csv.reader(file)
urls = [row[2].split(',') for row in rows]
with ThreadPoolExecutor(threads) as pool:
    outputs = iter(list(pool.map(process_image, [url for row in urls for url in row])))
with open(target, 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow([*header, 'Output Image Urls'])
    for row, images in zip(rows, urls):
        writer.writerow([*row, ','.join(next(outputs) for _ in images)])

// The product lists of the scenarios.

/** Four rows, three of them bad; the last one has a line break in a cell. */
export const bad = (origin) => `S. No.,Product Name,Input Image Urls
1,Postcard,${origin}/mountain-thumb.jpg
2,Clock,ftp://shop.example/2.jpg
3,,https://shop.example/3.jpg
4,"Two
lines",
`;

/** Nine products with 18 images, two of which fail: one is not found at first, one is no image. */
export function good(origin) {
  const rows = [
    ['Fig Bowl Rosso', 'fig-bowl.jpg', 'fig-bowl-cutout.png'],
    ['Forest Stream Canvas', 'forest-stream.jpg', 'forest-stream.jpg?view=framed'],
    ['Paint Brushes, Set of 8', 'paint-brushes.jpg', 'paint-brushes.jpg?view=top'],
    ['Dandelion Poster', 'dandelion-16mp.jpg'],
    ['Wall Clock', 'wall-clock.jpg', 'later/wall-clock.jpg'],
    ['Dog Window Decal', 'window-dogs-rotated.jpg', 'window-dogs-rotated.jpg?view=close'],
    ['Wine Corner', 'wine-corner.jpg', 'page.jpg', 'wine-corner.jpg?view=evening'],
    ['Lámpara «Pájaro»', 'bird-lamp-grey.jpg'],
    ['Mountain Postcard', 'mountain-thumb.jpg', 'mountain-thumb.jpg?view=back', 'mountain-thumb.jpg?view=stack'],
  ];
  const lines = rows.map(([name, ...paths], index) => `${index + 1},"${name}","${paths.map((it) => `${origin}/${it}`).join(',')}"`);
  return ['S. No.,Product Name,Input Image Urls', ...lines].join('\n');
}

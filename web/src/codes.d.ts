/** What each code of a failed image means, read from docs/error-codes.md when the page is built. */
declare module 'codes:failures' {
  const explanations: Partial<Record<string, string>>;
  export default explanations;
}

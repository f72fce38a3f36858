/** Texts that the ways of cutting words treat differently. */
export const PROBES: readonly string[] = [
  "Hello world",
  "hello,  world!   \n\n\t tabs\r\nand lines  ",
  " leading and trailing ",
  "1 12 123 1234 12345678 3.14159",
  "I'm, you'LL, we've, it's, THEY'RE, d'accord",
  "snake_case camelCase HTTPServer foo.bar(baz);",
  "naïve café Ünïcode Straße İstanbul",
  "北京大学的学生。ひらがな カタカナ 한국어",
  "Привет, мир! שלום مرحبا नमस्ते",
  "🦜 🧑‍🚀 👍🏽 x²½ ①",
  "a/b\\c #!$%&*()-+=[]{}|;:'\"<>?~`",
  "url: https://example.com/?q=1&r=2",
];

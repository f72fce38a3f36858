/**
 * Python's `strftime` in the C locale. Names are English whatever the user's locale, because that is
 * what models were trained on.
 *
 * @module
 */

const MONTHS =
  "January February March April May June July August September October November December"
    .split(" ");
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");
const DIRECTIVE = /%([-_0^#]*)(\d{0,3})([EO]?)([a-zA-Z%+])/g;
const DAY_MS = 86_400_000;

/** A number with the width and the filling that it has without flags. */
type Part = string | readonly [value: number, width: number, fill: string];

/** A local time by a format; what no directive is stays as it stands. */
export function formatTime(time: Date, format: string): string {
  return format.replace(
    DIRECTIVE,
    (whole, flags: string, width: string, _modifier, letter: string) => {
      const part = directive(time, letter);
      if (part === undefined) return whole;
      const flag = /[-_0](?=[^-_0]*$)/.exec(flags)?.[0];
      let text: string;
      if (typeof part === "string") text = part.padStart(Number(width), flag === "0" ? "0" : " ");
      else {
        const [value, digits, fill] = part;
        const filler = flag === "_" ? " " : flag === "0" ? "0" : fill;
        const size = width !== "" ? Number(width) : flag === "-" ? 0 : digits;
        text = (value < 0 ? "-" : "") + String(Math.abs(value)).padStart(size, filler);
      }
      if (flags.includes("^")) return text.toUpperCase();
      if (!flags.includes("#")) return text;
      return letter === "p" || letter === "Z" ? text.toLowerCase() : text.toUpperCase();
    },
  );
}

function directive(time: Date, letter: string): Part | undefined {
  const [year, month, day] = [time.getFullYear(), time.getMonth(), time.getDate()];
  const [hour, minute, second] = [time.getHours(), time.getMinutes(), time.getSeconds()];
  const weekday = time.getDay();
  // Days by the calendar: clocks that change in between do not matter.
  const yearDay = Math.round((Date.UTC(year, month, day) - Date.UTC(year, 0, 1)) / DAY_MS);
  const twelve = hour % 12 || 12;
  const all = (format: string): string => formatTime(time, format);
  switch (letter) {
    case "a":
      return DAYS[weekday].slice(0, 3);
    case "A":
      return DAYS[weekday];
    case "b":
    case "h":
      return MONTHS[month].slice(0, 3);
    case "B":
      return MONTHS[month];
    case "c":
      return all("%a %b %e %H:%M:%S %Y");
    case "C":
      return [Math.floor(year / 100), 2, "0"];
    case "d":
      return [day, 2, "0"];
    case "D":
    case "x":
      return all("%m/%d/%y");
    case "e":
      return [day, 2, " "];
    case "f":
      return [time.getMilliseconds() * 1000, 6, "0"];
    case "F":
      return all("%Y-%m-%d");
    case "g":
      return [isoWeek(year, month, day)[0] % 100, 2, "0"];
    case "G":
      return [isoWeek(year, month, day)[0], 4, "0"];
    case "H":
      return [hour, 2, "0"];
    case "I":
      return [twelve, 2, "0"];
    case "j":
      return [yearDay + 1, 3, "0"];
    case "k":
      return [hour, 2, " "];
    case "l":
      return [twelve, 2, " "];
    case "m":
      return [month + 1, 2, "0"];
    case "M":
      return [minute, 2, "0"];
    case "n":
      return "\n";
    case "p":
      return hour < 12 ? "AM" : "PM";
    case "P":
      return hour < 12 ? "am" : "pm";
    case "r":
      return all("%I:%M:%S %p");
    case "R":
      return all("%H:%M");
    case "s":
      return [Math.floor(time.getTime() / 1000), 1, "0"];
    case "S":
      return [second, 2, "0"];
    case "t":
      return "\t";
    case "T":
    case "X":
      return all("%H:%M:%S");
    case "u":
      return [weekday || 7, 1, "0"];
    case "U":
      return [Math.floor((yearDay + 7 - weekday) / 7), 2, "0"];
    case "V":
      return [isoWeek(year, month, day)[1], 2, "0"];
    case "w":
      return [weekday, 1, "0"];
    case "W":
      return [Math.floor((yearDay + 7 - (weekday + 6) % 7) / 7), 2, "0"];
    case "y":
      return [year % 100, 2, "0"];
    case "Y":
      return [year, 1, "0"];
    case "z":
    case "Z":
      return ""; // a time without a zone, as datetime.now() is
    case "%":
      return "%";
  }
  return undefined;
}

/** The year and the number of a date's week by ISO 8601: weeks belong to the year of their Thursday. */
function isoWeek(year: number, month: number, day: number): [number, number] {
  const date = new Date(Date.UTC(year, month, day));
  const thursday = date.getTime() + (3 - (date.getUTCDay() + 6) % 7) * DAY_MS;
  const weekYear = new Date(thursday).getUTCFullYear();
  return [weekYear, Math.floor((thursday - Date.UTC(weekYear, 0, 1)) / (7 * DAY_MS)) + 1];
}

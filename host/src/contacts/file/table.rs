//! A strict reader of CSV (RFC 4180).
//!
//! A misplaced quotation mark can make one row swallow the next ones. The reader refuses such a file with
//! the line number instead of guessing.

use std::borrow::Cow;

/// Most cells of a row: more than a contact may have properties.
const CELLS_MAX: usize = 4_096;

/// A table with a header line.
pub struct Table<'a> {
    head: Vec<String>,
    records: Records<'a>,
    number: usize,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Starts at 1; the header line does not count.
    pub number: usize,
    /// The line of the file it begins on, from 1.
    pub line: usize,
    /// At most as many as there are columns, trimmed.
    pub cells: Vec<Cow<'a, str>>,
}

impl Record<'_> {
    /// Whether all cells are empty. Spreadsheets write such rows below a table.
    pub fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| cell.is_empty())
    }
}

impl<'a> Table<'a> {
    /// Reads the header line, after an optional byte order mark and an optional `sep=;` line, as
    /// spreadsheets write them. Column names are trimmed and must be unique.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub fn open(body: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            format!("The file is not UTF-8: byte {at} is not part of a character")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (delimiter, rest, line) = match declared(text) {
            Some((delimiter, rest)) => (delimiter, rest, 2),
            None => (guess(text), text, 1),
        };
        let mut records = Records {
            rest,
            line,
            delimiter,
        };
        let head = records.next_record()?.map(|(_, cells)| cells);
        let head: Vec<String> = head
            .unwrap_or_default()
            .iter()
            .map(|name| name.trim().to_owned())
            .collect();
        for (place, name) in head.iter().enumerate() {
            if !name.is_empty() && head[..place].contains(name) {
                return Err(format!("Two columns are called '{}'", short(name)));
            }
        }
        Ok(Self {
            head,
            records,
            number: 0,
        })
    }

    /// The names of the columns.
    pub fn head(&self) -> &[String] {
        &self.head
    }

    /// The next row.
    ///
    /// # Errors
    /// Where and why the rest of the file is not valid CSV.
    pub fn next_row(&mut self) -> Result<Option<Record<'a>>, String> {
        let Some((line, cells)) = self.records.next_record()? else {
            return Ok(None);
        };
        self.number += 1;
        if cells.len() > self.head.len() && cells[self.head.len()..].iter().any(|it| !it.is_empty())
        {
            return Err(format!(
                "The file is not CSV: the row on line {line} has {} cells, and the header line \
                 has {}",
                cells.len(),
                self.head.len()
            ));
        }
        let cells = cells.into_iter().take(self.head.len()).map(trimmed);
        Ok(Some(Record {
            number: self.number,
            line,
            cells: cells.collect(),
        }))
    }
}

/// A name, shortened for a message.
pub fn short(name: &str) -> String {
    crate::foreign::text(name, 100)
}

fn trimmed(cell: Cow<'_, str>) -> Cow<'_, str> {
    match cell {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// The delimiter that a `sep=;` line declares, and the text after that line.
fn declared(text: &str) -> Option<(char, &str)> {
    let end = text.find(['\r', '\n']).unwrap_or(text.len());
    let line = text[..end].trim_matches('"');
    let (name, mark) = line.split_at_checked(4)?;
    let mut marks = mark.chars();
    let delimiter = marks.next()?;
    let sound = name.eq_ignore_ascii_case("sep=")
        && marks.as_str().trim().is_empty()
        && !delimiter.is_alphanumeric()
        && !['"', '\r', '\n'].contains(&delimiter);
    let rest = &text[end..];
    let rest = rest
        .strip_prefix("\r\n")
        .or_else(|| rest.strip_prefix(['\r', '\n']));
    sound.then(|| (delimiter, rest.unwrap_or_default()))
}

/// The most frequent delimiter of the header line, outside quotation marks. Spreadsheets write
/// semicolons in some locales.
fn guess(text: &str) -> char {
    const MARKS: [char; 3] = [',', ';', '\t'];
    let mut counts = [0_usize; MARKS.len()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            '\r' | '\n' if !quoted => break,
            _ if quoted => {}
            _ => {
                if let Some(place) = MARKS.iter().position(|mark| *mark == letter) {
                    counts[place] += 1;
                }
            }
        }
    }
    let mut best = 0;
    for place in 1..MARKS.len() {
        if counts[place] > counts[best] {
            best = place;
        }
    }
    MARKS[best]
}

struct Records<'a> {
    rest: &'a str,
    /// The line in the file, from 1.
    line: usize,
    delimiter: char,
}

type Cells<'a> = Vec<Cow<'a, str>>;

impl<'a> Records<'a> {
    /// The cells of the next line that is not blank, and its number.
    fn next_record(&mut self) -> Result<Option<(usize, Cells<'a>)>, String> {
        while !self.rest.is_empty() {
            let line = self.line;
            let blank = self.rest.starts_with(['\r', '\n']);
            let mut cells = Vec::new();
            loop {
                if cells.len() == CELLS_MAX {
                    return Err(format!(
                        "The file is not CSV: line {line} has more than {CELLS_MAX} cells"
                    ));
                }
                cells.push(self.cell()?);
                if !self.takes_delimiter() {
                    break;
                }
            }
            self.take_line_end();
            if !blank {
                return Ok(Some((line, cells)));
            }
        }
        Ok(None)
    }

    fn takes_delimiter(&mut self) -> bool {
        match self.rest.strip_prefix(self.delimiter) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_line_end(&mut self) {
        let rest = self.rest.strip_prefix("\r\n");
        if let Some(rest) = rest.or_else(|| self.rest.strip_prefix(['\r', '\n'])) {
            self.rest = rest;
            self.line += 1;
        }
    }

    fn cell(&mut self) -> Result<Cow<'a, str>, String> {
        if let Some(inside) = self.rest.strip_prefix('"') {
            return self.quoted(inside);
        }
        let stops = [self.delimiter, '\r', '\n', '"'];
        let end = self.rest.find(stops).unwrap_or(self.rest.len());
        let (cell, rest) = self.rest.split_at(end);
        if rest.starts_with('"') {
            return Err(format!(
                "The file is not CSV: line {} has a quotation mark inside a cell that does not \
                 begin with one",
                self.line
            ));
        }
        self.rest = rest;
        Ok(Cow::Borrowed(cell))
    }

    fn quoted(&mut self, inside: &'a str) -> Result<Cow<'a, str>, String> {
        let began = self.line;
        let mut cell = Cow::Borrowed("");
        let mut rest = inside;
        loop {
            let Some(end) = rest.find('"') else {
                return Err(format!(
                    "The file is not CSV: the quotation mark on line {began} is not closed"
                ));
            };
            cell += &rest[..end];
            rest = &rest[end + 1..];
            match rest.strip_prefix('"') {
                Some(more) => {
                    cell += "\"";
                    rest = more;
                }
                None => break,
            }
        }
        self.line += line_ends(&cell);
        self.rest = rest;
        if rest.is_empty() || rest.starts_with([self.delimiter, '\r', '\n']) {
            return Ok(cell);
        }
        let since = if began == self.line {
            String::new()
        } else {
            format!(", which began on line {began}")
        };
        Err(format!(
            "The file is not CSV: on line {} something follows the quotation mark that closes a \
             cell{since}; a quotation mark inside a cell is written twice",
            self.line
        ))
    }
}

/// The number of line ends: CR, LF or CRLF.
fn line_ends(text: &str) -> usize {
    let bytes = text.as_bytes();
    let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Table;

    type Rows = Vec<(usize, usize, Vec<String>)>;

    fn read(text: &str) -> Result<(Vec<String>, Rows), String> {
        let mut table = Table::open(text.as_bytes())?;
        let mut rows = Vec::new();
        while let Some(row) = table.next_row()? {
            let cells = row.cells.into_iter().map(|cell| cell.into_owned());
            rows.push((row.number, row.line, cells.collect()));
        }
        Ok((table.head().to_vec(), rows))
    }

    fn cells(text: &str) -> Vec<Vec<String>> {
        let (_, rows) = read(text).unwrap();
        rows.into_iter().map(|(_, _, cells)| cells).collect()
    }

    #[test]
    fn a_quotation_mark_in_the_wrong_place_is_refused_with_its_line() {
        for (text, line, why) in [
            ("a,b\nx,\"y\nz,1\n", "line 2", "not closed"),
            ("a,b\nx,\"y", "line 2", "not closed"),
            ("a,b\nx,y\n\"", "line 3", "not closed"),
            ("\"a,b\nx,y\n", "line 1", "not closed"),
            ("a,b\nx,y \"z\"\n", "line 2", "inside a cell"),
            ("a,b\nx, \"y\"\n", "line 2", "inside a cell"),
            ("a,b\nx,5'11\"\n", "line 2", "inside a cell"),
            ("a,b\n\"x\"y,z\n", "line 2", "follows"),
            ("a,b\n\"x\" ,z\n", "line 2", "follows"),
            // Escaped with a backslash, as other programs do.
            ("a,b\n\"x \\\"y\\\" z\",1\n", "line 2", "follows"),
            // The quotation mark meant to open a cell on line 3 closes the one of line 2.
            ("a,b\n\"x,1\n\"y\",2\n", "line 3", "began on line 2"),
            ("a,b\r\n\"x,1\r\ny,2\r\n\"z\",2\r\n", "line 4", "line 2"),
            ("sep=;\na;b\nx;\"y", "line 3", "not closed"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains(line) && error.contains(why),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn the_delimiter_is_what_the_names_are_divided_by() {
        for (text, head) in [
            ("a,b", vec!["a", "b"]),
            ("a;b", vec!["a", "b"]),
            ("a\tb", vec!["a", "b"]),
            ("a;\"x, y, z\"", vec!["a", "x, y, z"]),
            ("\"x; y; z\",b", vec!["x; y; z", "b"]),
            ("\"a;\n;;\",b", vec!["a;\n;;", "b"]),
            ("sep=;\r\na,b;c", vec!["a,b", "c"]),
            ("\"SEP=|\"\na,b|c;d;e", vec!["a,b", "c;d;e"]),
            ("sep=\t\na\tb", vec!["a", "b"]),
            // Not a `sep=` line.
            ("sep=x\n1", vec!["sep=x"]),
            ("separator,b", vec!["separator", "b"]),
            ("a", vec!["a"]),
        ] {
            assert_eq!(read(text).unwrap().0, head, "{text:?}");
        }
        let f21 = "email;\"Name; first; last\";\"a,b,c,d,e\"\nqs1@ex.test;\"X; Y\";z\n";
        assert_eq!(cells(f21), [["qs1@ex.test", "X; Y", "z"]]);
    }

    #[test]
    fn rows_keep_their_numbers_and_lines() {
        let text = "\u{feff}a, b \r\n1 , x y \r\n\r\n\"l1\r\nl2\rl3\n\", \t\r,\n\"\"\"q\"\"\",";
        let (head, rows) = read(text).unwrap();
        assert_eq!(head, ["a", "b"]);
        let own = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let expected = [
            (1, 2, own(["1", "x y"])),
            (2, 4, own(["l1\r\nl2\rl3", ""])),
            (3, 8, own(["", ""])),
            (4, 9, own(["\"q\"", ""])),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn names_are_unique_and_no_cell_is_without_one() {
        for text in ["a,b,a\n1,2,3\n", "a, a \n1,2\n", "\"a\",a\n"] {
            assert!(read(text).unwrap_err().contains("called 'a'"), "{text:?}");
        }
        assert_eq!(read("a,,\n1,,\n").unwrap().0, ["a", "", ""]);
        let error = read("a,b\n1,2\n1,2,3\n").unwrap_err();
        assert!(
            error.contains("line 3") && error.contains("3 cells"),
            "{error}"
        );
        // Spreadsheets end rows with empty cells.
        assert_eq!(cells("a,b\n1,2,,\n3\n"), [vec!["1", "2"], vec!["3"]]);
    }

    proptest! {
        #[test]
        fn what_a_writer_quotes_is_read_again(
            delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t')],
            rows in prop::collection::vec(prop::collection::vec("[a-c\",;\t\r\n é]{0,6}", 3), 0..6),
        ) {
            let mut writer = csv::WriterBuilder::new()
                .delimiter(delimiter)
                .quote_style(csv::QuoteStyle::NonNumeric)
                .from_writer(Vec::new());
            writer.write_record(["one,;\t\n1", "two", "three"]).unwrap();
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let trimmed: Vec<Vec<&str>> = rows
                .iter()
                .map(|row| row.iter().map(|cell| cell.trim()).collect())
                .collect();
            prop_assert_eq!(cells(&text), trimmed);
        }

        #[test]
        fn nothing_breaks_the_reader(text in "[a,;\"\r\n\t\\\\ ]{0,40}") {
            let _ = read(&text);
        }
    }
}

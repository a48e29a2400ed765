//! Tables in the output of commands.

use comfy_table::{Row, Table, presets};

/// A table without lines: columns as wide as their widest cell on a terminal, two spaces apart. Print
/// it with `trim_fmt`, which leaves out the spaces at the ends of lines.
pub fn table(rows: impl IntoIterator<Item = impl Into<Row>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up_and_lines_end_without_spaces() {
        let rows = [
            ["ID", "TRIGGER", "EXITS"],
            ["welcome", "a where (b = 1)", ""],
            ["世界", "x  y", "z"],
        ];
        assert_eq!(
            table(rows).trim_fmt(),
            "ID       TRIGGER          EXITS\n\
             welcome  a where (b = 1)\n\
             世界     x  y             z"
        );
    }
}

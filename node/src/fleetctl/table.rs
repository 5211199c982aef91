//! Tables as Go's tabwriter prints them with tabs: a column is as wide as its widest cell and one more, in steps of 8.

const TAB: usize = 8;
const PADDING: usize = 1;

/// Lays out lines of cells. A column goes over lines that follow each other and have a cell behind it; the last cell of
/// a line belongs to none.
pub fn layout(lines: &[Vec<String>]) -> String {
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        for (column, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < line.len() {
                let missing = width(lines, at, column) - cell.chars().count();
                out.push_str(&"\t".repeat(missing.div_ceil(TAB)));
            }
        }
        out.push('\n');
    }
    out
}

fn width(lines: &[Vec<String>], at: usize, column: usize) -> usize {
    let in_column = |line: &&Vec<String>| line.len() > column + 1;
    let before = lines[..at].iter().rev().take_while(in_column);
    let after = lines[at..].iter().take_while(in_column);
    let widest = before.chain(after).map(|line| line[column].chars().count()).max();
    (widest.unwrap_or(0) + PADDING).next_multiple_of(TAB)
}

/// The cells of a line that are separated by tabs.
pub fn cells(line: &str) -> Vec<String> {
    line.split('\t').map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(text: &str) -> String {
        layout(&text.lines().map(cells).collect::<Vec<_>>())
    }

    #[test]
    fn columns_are_as_recorded() {
        let machines = "MACHINE\tIP\tMETADATA\n10000000...\t10.93.0.11\tdisk=ssd,role=r1\n";
        assert_eq!(
            laid_out(machines),
            "MACHINE\t\tIP\t\tMETADATA\n10000000...\t10.93.0.11\tdisk=ssd,role=r1\n"
        );
        let files = "UNIT\tHASH\tDSTATE\tSTATE\tTARGET\nhello.service\t0cf7bda\tinactive\tinactive\t-\n";
        assert_eq!(
            laid_out(files),
            "UNIT\t\tHASH\tDSTATE\t\tSTATE\t\tTARGET\nhello.service\t0cf7bda\tinactive\tinactive\t-\n"
        );
    }

    #[test]
    fn a_cell_of_seven_takes_one_tab_and_one_of_eight_two() {
        assert_eq!(laid_out("1234567\tx\n"), "1234567\tx\n");
        assert_eq!(laid_out("12345678\tx\n1\tx\n"), "12345678\tx\n1\t\tx\n");
        assert_eq!(laid_out("é\tx\n1234567\tx\n"), "é\tx\n1234567\tx\n");
    }

    #[test]
    fn a_line_with_fewer_cells_ends_a_column() {
        let text = "\ta-long-name\tb\nTITLE\n\tx\ty\n";
        assert_eq!(laid_out(text), "\ta-long-name\tb\nTITLE\n\tx\ty\n");
        assert_eq!(laid_out("aaaaaaaaa\tb\nx\tb\n"), "aaaaaaaaa\tb\nx\t\tb\n");
        assert_eq!(laid_out("\n"), "\n");
    }
}

//! A table of text cells, column by column, as a CSV importer or a topic hands it over.
//!
//! Cells stay text until a column's role is known (see [`crate::plan`]): a table can then be shown, planned and
//! overridden before anything is read as a number. A cell is missing when it is `None` or says so in words
//! ([`crate::cells::is_missing`]). Reading files is the caller's work.

use crate::{cells, error::ChurnError};
use rustc_hash::FxHashSet;
use xxhash_rust::xxh3::Xxh3;

/// One column: its cells end to end, and where each ends.
#[derive(Debug, Clone)]
pub struct TextColumn {
    name: String,
    text: String,
    ends: Vec<usize>,
    present: Vec<bool>,
}

impl TextColumn {
    /// The column's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One cell; `None` where it is missing or the row does not exist.
    #[must_use]
    pub fn cell(&self, row: usize) -> Option<&str> {
        if !*self.present.get(row)? {
            return None;
        }
        let start = if row == 0 { 0 } else { *self.ends.get(row - 1)? };
        self.text.get(start..*self.ends.get(row)?)
    }

    /// All cells, from the first row to the last.
    pub fn cells(&self) -> impl Iterator<Item = Option<&str>> + '_ {
        (0..self.ends.len()).map(|row| self.cell(row))
    }

    /// The different values there are, at most `limit` of them, sorted.
    #[must_use]
    pub fn distinct(&self, limit: usize) -> Vec<&str> {
        let mut seen = FxHashSet::default();
        for cell in self.cells().flatten() {
            if seen.insert(cell) && seen.len() >= limit {
                break;
            }
        }
        let mut values: Vec<&str> = seen.into_iter().collect();
        values.sort_unstable();
        values
    }

    fn push(&mut self, cell: Option<&str>) {
        let cell = cell.map(str::trim).filter(|text| !cells::is_missing(text));
        self.text.push_str(cell.unwrap_or_default());
        self.ends.push(self.text.len());
        self.present.push(cell.is_some());
    }
}

/// A table of named columns of equal length.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<TextColumn>,
    rows: usize,
}

impl Table {
    /// An empty table with these columns.
    ///
    /// # Errors
    /// [`ChurnError::DuplicateColumn`] when two columns have the same name.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self, ChurnError> {
        let mut columns: Vec<TextColumn> = Vec::new();
        let mut seen = FxHashSet::default();
        for name in names {
            let name = name.into();
            if !seen.insert(name.clone()) {
                return Err(ChurnError::DuplicateColumn { name });
            }
            columns.push(TextColumn { name, text: String::new(), ends: Vec::new(), present: Vec::new() });
        }
        Ok(Self { columns, rows: 0 })
    }

    /// Appends one row, its cells in the order of the columns.
    ///
    /// # Errors
    /// [`ChurnError::RowWidth`] when the number of cells differs; the table is then unchanged.
    pub fn push_row(&mut self, cells: &[Option<&str>]) -> Result<(), ChurnError> {
        if cells.len() != self.columns.len() {
            return Err(ChurnError::RowWidth {
                row: self.rows + 1,
                expected: self.columns.len(),
                found: cells.len(),
            });
        }
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(*cell);
        }
        self.rows += 1;
        Ok(())
    }

    /// Appends one row given as (name, cell) pairs in any order; columns that are not named are missing.
    ///
    /// # Errors
    /// [`ChurnError::UnknownColumn`] when a name is not a column of this table.
    pub fn push_record<'a>(
        &mut self,
        record: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<(), ChurnError> {
        let mut cells = vec![None; self.columns.len()];
        for (name, cell) in record {
            let index = self.index(name)?;
            if let Some(slot) = cells.get_mut(index) {
                *slot = cell;
            }
        }
        self.push_row(&cells)
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns in their order.
    #[must_use]
    pub fn columns(&self) -> &[TextColumn] {
        &self.columns
    }

    /// The columns' names in their order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// A column by name.
    ///
    /// # Errors
    /// [`ChurnError::UnknownColumn`] with the names there are.
    pub fn column(&self, name: &str) -> Result<&TextColumn, ChurnError> {
        self.columns
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(|| ChurnError::UnknownColumn { name: name.to_owned(), known: self.names() })
    }

    fn index(&self, name: &str) -> Result<usize, ChurnError> {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| ChurnError::UnknownColumn { name: name.to_owned(), known: self.names() })
    }

    /// A fingerprint of names and cells in their order, as 32 hexadecimal digits; stored in each model file.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = Xxh3::new();
        for column in &self.columns {
            hasher.update(&(column.name.len() as u64).to_le_bytes());
            hasher.update(column.name.as_bytes());
            for cell in column.cells() {
                // The length keeps ("ab","c") apart from ("a","bc"), and a missing cell from an empty one.
                let length = cell.map_or(u64::MAX, |text| text.len() as u64);
                hasher.update(&length.to_le_bytes());
                hasher.update(cell.unwrap_or_default().as_bytes());
            }
        }
        format!("{:032x}", hasher.digest128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back_and_blanks_are_missing() {
        let mut table = Table::new(["a", "b"]).unwrap();
        table.push_row(&[Some("1"), Some("")]).unwrap();
        table.push_record([("b", Some("x"))]).unwrap();
        assert_eq!(table.column("a").unwrap().cells().collect::<Vec<_>>(), [Some("1"), None]);
        assert_eq!(table.column("b").unwrap().cells().collect::<Vec<_>>(), [None, Some("x")]);
        assert!(matches!(table.push_row(&[None]), Err(ChurnError::RowWidth { row: 3, .. })));
        assert_eq!(table.rows(), 2);
        assert!(matches!(table.column("c"), Err(ChurnError::UnknownColumn { .. })));
        assert!(matches!(Table::new(["a", "a"]), Err(ChurnError::DuplicateColumn { .. })));
    }

    #[test]
    fn hash_sees_each_cell_and_its_place() {
        let table = |rows: &[[&str; 2]]| {
            let mut table = Table::new(["a", "b"]).unwrap();
            for row in rows {
                table.push_row(&row.map(Some)).unwrap();
            }
            table.hash()
        };
        assert_eq!(table(&[["ab", "c"]]), table(&[["ab", "c"]]));
        assert_ne!(table(&[["ab", "c"]]), table(&[["a", "bc"]]));
        assert_ne!(table(&[["ab", "c"], ["d", "e"]]), table(&[["d", "e"], ["ab", "c"]]));
    }
}

//! Which orders a list shows, and in which order: search, sorting and paging as SQL.

use crate::Order;
use crate::store::Visible;

/// The most rows of one answer.
pub(crate) const ROWS_LIMIT: i64 = 10_000;

/// The longest search, in characters.
pub(crate) const SEARCH_LIMIT: usize = 100;

/// What a list can be sorted by, and the SQL of it. Decimals are text, so they need the collation that knows values.
const SORTABLE: [(&str, &str); 7] = [
    ("id", "o.id"),
    ("owner", "u.username"),
    ("instrument", "o.instrument"),
    ("quantity", "o.quantity COLLATE decimal"),
    ("price", "o.price COLLATE decimal"),
    ("created", "o.created"),
    ("updated", "o.updated"),
];

/// What a search looks into.
const SEARCHED: [&str; 5] = ["CAST(o.id AS TEXT)", "u.username", "o.instrument", "o.quantity", "o.price"];

/// A list that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// Looked for in every column, in either case of ASCII letters; empty finds all. At most [`SEARCH_LIMIT`].
    pub(crate) search: String,
    pub(crate) sorting: Vec<Sorting>,
    pub(crate) offset: i64,
    /// At most [`ROWS_LIMIT`].
    pub(crate) limit: i64,
}

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sorting {
    sql: &'static str,
    descending: bool,
}

impl Sorting {
    /// `None` for what is no column.
    pub(crate) fn by(column: &str, descending: bool) -> Option<Self> {
        let (_, sql) = SORTABLE.iter().find(|(name, _)| *name == column)?;
        Some(Self { sql, descending })
    }
}

/// What a list shows: how many orders are visible, how many match, and a page of them.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) total: i64,
    pub(crate) filtered: i64,
    pub(crate) orders: Vec<Order>,
}

/// An argument of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arg {
    Number(i64),
    Text(String),
}

impl Query {
    /// The tables and condition of what is visible.
    pub(crate) fn visible(visible: Visible) -> (String, Vec<Arg>) {
        let tables = "FROM orders_order o JOIN accounts_user u ON u.id = o.owner_id";
        match visible {
            Visible::All => (tables.to_owned(), Vec::new()),
            Visible::OwnedBy(owner) => (format!("{tables} WHERE o.owner_id = $1"), vec![Arg::Number(owner)]),
        }
    }

    /// The tables and condition of what is visible and matches the search.
    pub(crate) fn filter(&self, visible: Visible) -> (String, Vec<Arg>) {
        let (mut sql, mut args) = Self::visible(visible);
        if self.search.is_empty() {
            return (sql, args);
        }
        // SQLite's `lower` knows ASCII only, so other letters have to be left as they are here, too.
        args.push(Arg::Text(format!("%{}%", escape_like(&self.search.to_ascii_lowercase()))));
        let nth = args.len();
        let columns = SEARCHED.map(|column| format!("lower({column}) LIKE ${nth} ESCAPE '\\'")).join(" OR ");
        sql.push_str(if nth > 1 { " AND (" } else { " WHERE (" });
        sql.push_str(&columns);
        sql.push(')');
        (sql, args)
    }

    /// Newest first unless asked otherwise; equal rows keep one order, so that pages neither repeat nor skip.
    pub(crate) fn order_and_limit(&self) -> String {
        let direction = |descending| if descending { "DESC" } else { "ASC" };
        let asked =
            self.sorting.iter().map(|sorting| format!("{} {}, ", sorting.sql, direction(sorting.descending)));
        format!("ORDER BY {}o.id DESC LIMIT {} OFFSET {}", asked.collect::<String>(), self.limit, self.offset)
    }
}

/// Makes the wildcards of LIKE mean themselves.
fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_never_part_of_the_sql() {
        let query = Query { search: "50%_'--".into(), sorting: Vec::new(), offset: 0, limit: 10 };
        let (sql, args) = query.filter(Visible::OwnedBy(3));
        assert!(!sql.contains("50"));
        assert_eq!(args, [Arg::Number(3), Arg::Text("%50\\%\\_'--%".into())]);
        assert!(Sorting::by("id; DROP TABLE", false).is_none());
    }

    #[test]
    fn sorting_goes_by_value_and_ends_with_the_id() {
        let sorting =
            ["price", "owner"].map(|column| Sorting::by(column, column == "price").unwrap()).to_vec();
        let query = Query { search: String::new(), sorting, offset: 20, limit: 10 };
        let expected = "ORDER BY o.price COLLATE decimal DESC, u.username ASC, o.id DESC LIMIT 10 OFFSET 20";
        assert_eq!(query.order_and_limit(), expected);
    }
}

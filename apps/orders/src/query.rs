//! Which orders a list shows, and in which order: search, sorting and paging as SQL.

use accounts::{Arg, Dialect};

use crate::Order;
use crate::store::Visible;

/// The most rows of one answer.
pub(crate) const ROWS_LIMIT: i64 = 10_000;

/// The longest search, in characters.
pub(crate) const SEARCH_LIMIT: usize = 100;

/// What a list can be sorted by, and its column.
const SORTABLE: [(&str, &str); 7] = [
    ("id", "o.id"),
    ("owner", "u.username"),
    ("instrument", "o.instrument"),
    ("quantity", "o.quantity"),
    ("price", "o.price"),
    ("created", "o.created"),
    ("updated", "o.updated"),
];

/// What a search looks into, apart from [`DECIMALS`].
const SEARCHED: [&str; 3] = ["CAST(o.id AS TEXT)", "u.username", "o.instrument"];

/// The columns that hold decimals, which the databases hold in ways of their own.
const DECIMALS: [&str; 2] = ["o.quantity", "o.price"];

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
    column: &'static str,
    descending: bool,
}

impl Sorting {
    /// `None` for what is no column.
    pub(crate) fn by(name: &str, descending: bool) -> Option<Self> {
        let (_, column) = SORTABLE.iter().find(|(sortable, _)| *sortable == name)?;
        Some(Self { column, descending })
    }
}

/// What a list shows: how many orders are visible, how many match, and a page of them.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) total: i64,
    pub(crate) filtered: i64,
    pub(crate) orders: Vec<Order>,
}

impl Query {
    /// The tables and condition of what is visible.
    pub(crate) fn visible(visible: Visible) -> (String, Vec<Arg>) {
        let tables = "FROM orders_order o JOIN accounts_user u ON u.id = o.owner_id";
        match visible {
            Visible::All => (tables.to_owned(), Vec::new()),
            Visible::OwnedBy(owner) => (format!("{tables} WHERE o.owner_id = $1"), vec![owner.into()]),
        }
    }

    /// The tables and condition of what is visible and matches the search.
    pub(crate) fn filter(&self, visible: Visible, dialect: Dialect) -> (String, Vec<Arg>) {
        let (mut sql, mut args) = Self::visible(visible);
        if self.search.is_empty() {
            return (sql, args);
        }
        // The databases' `lower` knows ASCII only, so other letters have to be left as they are here, too.
        args.push(format!("%{}%", escape_like(&self.search.to_ascii_lowercase())).into());
        let nth = args.len();
        let decimals = DECIMALS.map(|column| dialect.decimal_text(column));
        let texts = SEARCHED.into_iter().chain(decimals.iter().map(String::as_str));
        let columns = texts.map(|text| format!("lower({text}) LIKE ${nth} ESCAPE '\\'"));
        sql.push_str(if nth > 1 { " AND (" } else { " WHERE (" });
        sql.push_str(&columns.collect::<Vec<_>>().join(" OR "));
        sql.push(')');
        (sql, args)
    }

    /// Newest first unless asked otherwise; equal rows keep one order, so that pages neither repeat nor skip.
    pub(crate) fn order_and_limit(&self, dialect: Dialect) -> String {
        let asked = self.sorting.iter().map(|Sorting { column, descending }| {
            let direction = if *descending { "DESC" } else { "ASC" };
            if DECIMALS.contains(column) {
                return format!("{} {direction}, ", dialect.decimal_order(column));
            }
            format!("{column} {direction}, ")
        });
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
        let (sql, args) = query.filter(Visible::OwnedBy(3), Dialect::Sqlite);
        assert!(!sql.contains("50"));
        assert_eq!(args, [Arg::from(3_i64), Arg::from("%50\\%\\_'--%")]);
        assert!(Sorting::by("id; DROP TABLE", false).is_none());
    }

    #[test]
    fn sorting_goes_by_value_and_ends_with_the_id() {
        let sorting =
            ["price", "owner"].map(|column| Sorting::by(column, column == "price").unwrap()).to_vec();
        let query = Query { search: String::new(), sorting, offset: 20, limit: 10 };
        let expected = "ORDER BY o.price COLLATE decimal DESC, u.username ASC, o.id DESC LIMIT 10 OFFSET 20";
        assert_eq!(query.order_and_limit(Dialect::Sqlite), expected);
        let natively = expected.replace(" COLLATE decimal", "");
        assert_eq!(query.order_and_limit(Dialect::Postgres), natively);
    }
}

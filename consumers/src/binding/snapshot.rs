//! The rows that a client may see, as they are in one moment.

use channel_layer::GroupName;
use serde::Serialize;
use serde_json::Value;

use super::publish::Publisher;
use super::table::TableSql;
use super::write::Refusal;
use super::{Binding, Bound, shown};
use crate::Context;
use crate::db::Transaction;

/// How many rows one frame holds at most.
const ROWS_PER_FRAME: usize = 500;

/// The most rows of a snapshot. A binding with more of them for one client has to be narrowed.
const ROWS_LIMIT: usize = 100_000;

#[derive(Serialize)]
struct Frame<'a> {
    action: &'static str,
    rows: &'a [Row],
    model: &'static str,
    begins: bool,
    complete: bool,
}

#[derive(Serialize)]
struct Row {
    pk: Value,
    data: Value,
}

/// Sends the rows of which one of these groups would hear.
pub(super) async fn send<B: Binding>(
    bound: &Bound<B>,
    ctx: &mut Context,
    transaction: Transaction,
    groups: &[GroupName],
) -> Result<(), Refusal> {
    let rows = read(bound, ctx, transaction, groups).await?;
    let mut frames = rows.chunks(ROWS_PER_FRAME);
    let count = frames.len().max(1);
    for nth in 0..count {
        let rows = frames.next().unwrap_or_default();
        let (begins, complete) = (nth == 0, nth + 1 == count);
        let frame = Frame { action: "snapshot", rows, model: B::MODEL, begins, complete };
        ctx.send_json(&frame).await?;
    }
    Ok(())
}

async fn read<B: Binding>(
    bound: &Bound<B>,
    ctx: &Context,
    mut transaction: Transaction,
    groups: &[GroupName],
) -> Result<Vec<Row>, Refusal> {
    let binding = &bound.0.binding;
    let table = TableSql::read(&mut transaction, &bound.table()).await?;
    let narrowed = binding.narrow(ctx.scope());
    let found = table.select(&mut transaction, narrowed, ROWS_LIMIT + 1).await?;
    transaction.commit().await?;
    if found.len() > ROWS_LIMIT {
        tracing::error!(table = B::TABLE, "a snapshot has too many rows: narrow the binding");
        return Err(Refusal::NotAvailable);
    }
    let (mut rows, mut unreadable, all) = (Vec::new(), 0, found.len());
    for columns in found {
        let row = match columns.read::<B::Row>() {
            Ok(row) => row,
            // One value that a foreign program has stored must not keep everyone from all other rows.
            Err(cause) if !cause.column.is_empty() => {
                if unreadable == 0 {
                    let (table, key) = (B::TABLE, columns.get(B::KEY));
                    tracing::error!(table, key, %cause, "this row, and perhaps more, cannot be read and is left out");
                }
                unreadable += 1;
                continue;
            }
            Err(cause) => return Err(Refusal::failed(&cause)),
        };
        if binding.groups(&row).iter().any(|group| groups.contains(group)) {
            rows.extend(shown(&row, B::KEY).map(|(pk, data)| Row { pk, data }));
        }
    }
    // Then it is the type of the rows that is wrong.
    if all > 0 && unreadable == all { Err(Refusal::NotAvailable) } else { Ok(rows) }
}

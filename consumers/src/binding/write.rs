//! What clients write through a binding: asked for permission first, checked, and committed or refused whole.

use serde_json::{Map, Value};

use super::publish::Publisher;
use super::table::TableSql;
use super::{Action, Binding, Bound, FieldErrors};
use crate::capture::{CaptureError, ColumnError, Columns};
use crate::db::Transaction;
use crate::{Error, Scope};

/// Where the reasons stand that concern no single field, as in Django's forms.
const WHOLE_ROW: &str = "non_field_errors";

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Refusal {
    BadRequest(&'static str),
    NotPermitted,
    NotFound,
    Invalid(FieldErrors),
    /// The database or the channel layer failed; the cause is in the log.
    NotAvailable,
    /// What ends the stream or the socket: a defect, or a client that is gone.
    Fatal(Error),
}

impl Refusal {
    pub(super) fn failed(cause: &dyn std::error::Error) -> Self {
        tracing::error!(%cause, "a client's request to a binding failed");
        Self::NotAvailable
    }

    /// When a subscription could not begin, for which it takes the layer and the database, and nobody's code but ours.
    pub(super) fn of_following(error: Error) -> Self {
        match error {
            Error::Defect(cause) => Self::failed(&*cause),
            error => error.into(),
        }
    }

    fn field(field: &str, reason: impl Into<String>) -> Self {
        Self::Invalid(FieldErrors::from([(field.to_owned(), vec![reason.into()])]))
    }

    /// What is to be answered, if it is not to end everything.
    pub(super) fn unless_fatal(self) -> Result<Self, Error> {
        match self {
            Self::Fatal(error) => Err(error),
            refusal => Ok(refusal),
        }
    }

    pub(super) fn error(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad request",
            Self::NotPermitted => "not permitted",
            Self::NotFound => "not found",
            Self::Invalid(_) => "invalid",
            Self::NotAvailable | Self::Fatal(_) => "not available",
        }
    }

    pub(super) fn detail(&self) -> Option<&'static str> {
        if let Self::BadRequest(detail) = self { Some(detail) } else { None }
    }

    pub(super) fn fields(&self) -> Option<&FieldErrors> {
        if let Self::Invalid(fields) = self { Some(fields) } else { None }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Deny(_) => Self::NotPermitted,
            Error::Layer(cause) => Self::failed(&cause),
            error => Self::Fatal(error),
        }
    }
}

impl From<CaptureError> for Refusal {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::Database(cause) => cause.into(),
            cause => Self::failed(&cause),
        }
    }
}

impl From<sqlx::Error> for Refusal {
    /// Tells what is wrong with the client's values from what is wrong with the database.
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        let sqlx::Error::Database(cause) = &error else { return Self::failed(&error) };
        let reason = match cause.kind() {
            ErrorKind::UniqueViolation => "another row has this value already",
            ErrorKind::ForeignKeyViolation => {
                "it refers to a row that is not there, or another row refers to it"
            }
            ErrorKind::NotNullViolation => "a value is required",
            ErrorKind::CheckViolation => "a value is not allowed",
            // What PostgreSQL says of a value that does not fit its type.
            _ if cause.code().is_some_and(|code| code.starts_with("22")) => "a value does not fit its column",
            _ => return Self::failed(&error),
        };
        let column =
            cause.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|cause| cause.column());
        Self::field(column.unwrap_or(WHOLE_ROW), reason)
    }
}

impl From<ColumnError> for Refusal {
    fn from(ColumnError { column, reason }: ColumnError) -> Self {
        Self::field(if column.is_empty() { WHOLE_ROW } else { &column }, reason)
    }
}

impl<B: Binding> Bound<B> {
    /// Makes a row, and gives its key.
    pub(super) async fn create(&self, scope: &Scope, data: &Map<String, Value>) -> Result<Value, Refusal> {
        self.permitted(scope, Action::Create, None).await?;
        let (mut transaction, table) = self.begin().await?;
        let mut columns = given::<B>(&table, data)?;
        match columns.read::<B::Row>() {
            // Without a column it is about what is missing, which the database may have a default for.
            Err(error) if !error.column.is_empty() => return Err(error.into()),
            _ => {}
        }
        self.0.binding.fill(scope, Action::Create, &mut columns);
        let pk = table.insert(&mut transaction, &columns).await?;
        self.commit(transaction, &table, &pk).await
    }

    /// Changes the fields of a row that are named.
    pub(super) async fn update(
        &self,
        scope: &Scope,
        pk: &Value,
        data: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let (mut transaction, table) = self.begin().await?;
        let pk = key(&table, pk)?;
        let mut stored = self.stored(&mut transaction, &table, &pk).await?;
        let row = stored.read::<B::Row>().map_err(|cause| Refusal::failed(&cause))?;
        self.permitted(scope, Action::Update, Some(&row)).await?;
        let mut columns = given::<B>(&table, data)?;
        for (column, value) in columns.iter() {
            stored.set(column, value.map(str::to_owned));
        }
        stored.read::<B::Row>()?;
        self.0.binding.fill(scope, Action::Update, &mut columns);
        table.update(&mut transaction, &pk, &columns).await?;
        self.commit(transaction, &table, &pk).await
    }

    /// Deletes a row.
    pub(super) async fn delete(&self, scope: &Scope, pk: &Value) -> Result<Value, Refusal> {
        let (mut transaction, table) = self.begin().await?;
        let pk = key(&table, pk)?;
        let stored = self.stored(&mut transaction, &table, &pk).await?;
        let row = stored.read::<B::Row>().map_err(|cause| Refusal::failed(&cause))?;
        self.permitted(scope, Action::Delete, Some(&row)).await?;
        table.delete(&mut transaction, &pk).await?;
        transaction.commit().await?;
        super::shown(&row, B::KEY).map(|(pk, _)| pk).ok_or(Refusal::NotFound)
    }

    async fn permitted(&self, scope: &Scope, action: Action, row: Option<&B::Row>) -> Result<(), Refusal> {
        let is_permitted = self.0.binding.permits(scope, action, row).await?;
        if is_permitted { Ok(()) } else { Err(Refusal::NotPermitted) }
    }

    async fn begin(&self) -> Result<(Transaction, TableSql), Refusal> {
        let mut transaction = self.0.db.begin_write().await?;
        let table = TableSql::read(&mut transaction, &self.table()).await?;
        Ok((transaction, table))
    }

    async fn stored(
        &self,
        transaction: &mut Transaction,
        table: &TableSql,
        pk: &str,
    ) -> Result<Columns, Refusal> {
        match table.lock(transaction, pk).await {
            Ok(row) => row.ok_or(Refusal::NotFound),
            // A key that is no value of its column is the key of no row.
            Err(CaptureError::Database(sqlx::Error::Database(cause)))
                if cause.code().is_some_and(|code| code.starts_with("22")) =>
            {
                Err(Refusal::NotFound)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Commits a row that is as it should be, and gives its key.
    async fn commit(
        &self,
        mut transaction: Transaction,
        table: &TableSql,
        pk: &str,
    ) -> Result<Value, Refusal> {
        let row = self.stored(&mut transaction, table, pk).await?.read::<B::Row>()?;
        self.0.binding.validate(&row).map_err(Refusal::Invalid)?;
        transaction.commit().await?;
        super::shown(&row, B::KEY).map(|(pk, _)| pk).ok_or(Refusal::NotFound)
    }
}

/// The columns that a client sets, all of which it may set.
fn given<B: Binding>(table: &TableSql, data: &Map<String, Value>) -> Result<Columns, Refusal> {
    let refused = data.keys().filter(|field| !B::FIELDS.contains(&field.as_str()));
    let refused: FieldErrors =
        refused.map(|field| (field.clone(), vec!["this field cannot be set".to_owned()])).collect();
    if !refused.is_empty() {
        return Err(Refusal::Invalid(refused));
    }
    Ok(data.iter().map(|(field, value)| (field.clone(), table.text_of(value))).collect())
}

fn key(table: &TableSql, pk: &Value) -> Result<String, Refusal> {
    match pk {
        Value::Null => Err(Refusal::BadRequest("pk is missing")),
        Value::Array(_) | Value::Object(_) | Value::Bool(_) => {
            Err(Refusal::BadRequest("pk is a number or a text"))
        }
        pk => table.text_of(pk).ok_or(Refusal::NotFound),
    }
}

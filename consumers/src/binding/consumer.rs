//! The consumer of a binding: reads and writes of one client, each of them answered.

use channel_layer::{GroupName, Missed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::write::Refusal;
use super::{Binding, Bound, FieldErrors, Following, snapshot};
use crate::{Close, CloseCode, Context, Error, Json, NoEvents, Result, WebsocketConsumer};

/// Serves one client of a binding, on a socket of its own or as a stream of a
/// [`Demultiplexer`](crate::Demultiplexer). The [module](super) has its protocol.
#[derive(Debug)]
pub struct BindingConsumer<B: Binding> {
    bound: Bound<B>,
    following: Option<Following>,
}

/// What a client asks for.
#[derive(Debug, Deserialize)]
struct Request {
    action: Wanted,
    #[serde(default)]
    pk: Value,
    #[serde(default)]
    data: Map<String, Value>,
    request_id: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Create,
    Update,
    Delete,
    Subscribe,
    Unsubscribe,
}

/// The answer to a request.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<Wanted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Wanted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<&'a FieldErrors>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pk: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a Value>,
}

impl<B: Binding> BindingConsumer<B> {
    pub(super) fn new(bound: Bound<B>) -> Self {
        Self { bound, following: None }
    }

    async fn handle(&mut self, ctx: &mut Context, request: &Request) -> Result<Value, Refusal> {
        let scope = ctx.scope();
        match request.action {
            Wanted::Create => self.bound.create(scope, &request.data).await,
            Wanted::Update => self.bound.update(scope, &request.pk, &request.data).await,
            Wanted::Delete => self.bound.delete(scope, &request.pk).await,
            Wanted::Subscribe => self.subscribe(ctx).await.map(|()| Value::Null),
            Wanted::Unsubscribe => {
                self.following = None;
                Ok(Value::Null)
            }
        }
    }

    /// Sends a snapshot, and then what changes.
    async fn subscribe(&mut self, ctx: &mut Context) -> Result<(), Refusal> {
        let groups: Vec<GroupName> = match self.bound.0.binding.subscriptions(ctx.scope()) {
            Err(Error::Deny(_)) => return Err(Refusal::NotPermitted),
            groups => groups?,
        };
        // What was followed before ends first: none of it may come behind the new snapshot.
        self.following = None;
        let followed = self.bound.follow(ctx, groups.clone()).await;
        let (following, transaction) = followed.map_err(Refusal::of_following)?;
        snapshot::send(&self.bound, ctx, transaction, &groups).await?;
        self.following = Some(following);
        Ok(())
    }

    async fn answer(&self, ctx: &mut Context, request: &Request, outcome: Result<Value, Refusal>) -> Result {
        let Request { action, pk, request_id, .. } = request;
        let mut answer = Answer {
            ok: None,
            error: None,
            detail: None,
            action: None,
            fields: None,
            pk,
            request_id: request_id.as_ref(),
        };
        match outcome {
            Ok(_) if request_id.is_none() && !ctx.has_request_id() => Ok(()),
            Ok(pk) => {
                answer.ok = Some(*action);
                answer.pk = &pk;
                ctx.send_json(&answer).await
            }
            Err(refusal) => {
                let refusal = refusal.unless_fatal()?;
                answer.action = Some(*action);
                answer.error = Some(refusal.error());
                answer.detail = refusal.detail();
                answer.fields = refusal.fields();
                ctx.send_json(&answer).await
            }
        }
    }
}

/// Reads a request; why not, when it is none.
fn request(payload: Value) -> Result<Request, (String, Option<Value>)> {
    let request_id = payload.get("request_id").cloned();
    serde_json::from_value(payload).map_err(|cause| (cause.to_string(), request_id))
}

impl<B: Binding> WebsocketConsumer for BindingConsumer<B> {
    type Incoming = Result<Json<Value>>;
    type Event = NoEvents;

    async fn receive(&mut self, ctx: &mut Context, payload: Result<Json<Value>>) -> Result {
        let payload = payload.map(|Json(payload)| payload).unwrap_or_default();
        match request(payload) {
            Ok(request) => {
                let outcome = self.handle(ctx, &request).await;
                self.answer(ctx, &request, outcome).await
            }
            Err((detail, request_id)) => {
                let mut answer = serde_json::json!({"error": "bad request", "detail": detail});
                if let Some(request_id) = request_id {
                    answer["request_id"] = request_id;
                }
                ctx.send_json(&answer).await
            }
        }
    }

    async fn missed(&mut self, ctx: &mut Context, _: Missed) -> Result {
        if self.following.is_none() {
            return Ok(());
        }
        match self.subscribe(ctx).await {
            Ok(()) => Ok(()),
            // Nobody has asked, so an answer may be passed over. A client that is closed knows that it hears no more.
            Err(Refusal::NotAvailable) => {
                Err(Close::new(CloseCode::TRY_AGAIN, "the subscription was lost: try again").into())
            }
            Err(refusal) => {
                let refusal = refusal.unless_fatal()?;
                let answer = serde_json::json!({"error": refusal.error(), "action": Wanted::Subscribe});
                ctx.send_json(&answer).await
            }
        }
    }
}

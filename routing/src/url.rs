//! `UrlRouter`: from a path to an application.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::body::Body;
use consumers::{
    Application, Denial, Opened, Result, Scope, StatusCode, Transport, WebsocketConsumer, application,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{Request, Response};
use tower::Service;

use crate::pattern::Pattern;
use crate::protocol::nothing_here;
use crate::site::{Site, stands_under_a_server};
use crate::{Middleware, handshake};

/// Chooses an application by the path of a handshake, as Channels' `URLRouter` does: the first pattern that matches
/// wins, parameters go into the scope, routers nest.
///
/// A pattern is text with parameters: `/ws/chat/{room}/`, or with a type `{id:int}`; the types are Django's `str`
/// (the default: anything but a slash), `int`, `slug`, `uuid` and `path`. A leading slash may be left out. Paths that
/// match nothing are refused with 404.
///
/// ```
/// use consumers::{Context, Frame, NoEvents, Result, Scope, WebsocketConsumer};
/// use routing::{OriginValidator, UrlRouter};
///
/// struct Echo;
/// impl WebsocketConsumer for Echo {
///     type Incoming = Frame;
///     type Event = NoEvents;
///     async fn receive(&mut self, ctx: &mut Context, frame: Frame) -> Result {
///         ctx.send(frame).await
///     }
/// }
///
/// let api = UrlRouter::new().route("echo/", |_| Ok(Echo));
/// let app = UrlRouter::new().with(OriginValidator::same_host()).mount("/ws/{version:int}/", api);
/// ```
#[derive(Clone, Default)]
pub struct UrlRouter {
    routes: Arc<Vec<Route>>,
    middleware: Arc<Vec<Arc<dyn Middleware>>>,
    pub(crate) site: Site,
}

#[derive(Clone)]
struct Route {
    pattern: Arc<Pattern>,
    app: Arc<dyn Application>,
}

impl UrlRouter {
    /// A router without routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a path by a consumer, which is made from the scope.
    ///
    /// # Panics
    /// When the pattern is not one, since the program would be wrong from the start.
    #[must_use]
    pub fn route<C: WebsocketConsumer>(
        self,
        pattern: &str,
        make: impl Fn(&Scope) -> Result<C> + Send + Sync + 'static,
    ) -> Self {
        self.mount(pattern, application(make))
    }

    /// Serves a path by an application; a router among them gets what is left of the path behind the pattern.
    ///
    /// # Panics
    /// When the pattern is not one.
    #[must_use]
    pub fn mount(mut self, pattern: &str, app: impl Application) -> Self {
        let compiled = match Pattern::new(pattern) {
            Ok(compiled) => Arc::new(compiled),
            Err(reason) => panic!("the URL pattern {pattern:?} is not valid: {reason}"),
        };
        Arc::make_mut(&mut self.routes).push(Route { pattern: compiled, app: Arc::new(app) });
        self
    }

    /// Adds a step that every handshake passes once its route is known, in the order in which steps are added and
    /// before the steps of inner routers.
    #[must_use]
    pub fn with(mut self, middleware: impl Middleware) -> Self {
        Arc::make_mut(&mut self.middleware).push(Arc::new(middleware));
        self
    }

    /// Asks every middleware whether a handshake may pass.
    async fn pass(&self, scope: &mut Scope) -> Result {
        for step in self.middleware.iter() {
            step.handshake(scope).await?;
        }
        Ok(())
    }

    /// The route of a path, and how many bytes its pattern matches.
    fn find(&self, remaining: &str) -> Option<(&Route, usize)> {
        self.routes.iter().find_map(|route| {
            let bytes = route.pattern.matches(remaining)?;
            route.app.resolves(&remaining[bytes..]).then_some((route, bytes))
        })
    }
}

stands_under_a_server!(UrlRouter);

impl<B: Send + 'static> Service<Request<B>> for UrlRouter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !handshake::is_upgrade(&request) {
            return ready(Ok(nothing_here(true))).boxed();
        }
        handshake::answer(self.site.clone(), Arc::new(self.clone()), request).map(Ok).boxed()
    }
}

impl Application for UrlRouter {
    fn open<'s, 'a>(&'s self, mut scope: Scope, transport: Transport) -> Opened<'a>
    where
        's: 'a,
        Self: 'a,
    {
        let Some((route, bytes)) = self.find(scope.remaining_path()) else {
            transport.refuse(Denial::new(StatusCode::NOT_FOUND, "not found"));
            return ready(()).boxed();
        };
        let params = route.pattern.params(scope.remaining_path());
        scope.advance(bytes, params);
        if self.middleware.is_empty() {
            return route.app.open(scope, transport);
        }
        async move {
            match self.pass(&mut scope).await {
                Ok(()) => route.app.open(scope, transport).await,
                Err(error) => transport.refuse(error),
            }
        }
        .boxed()
    }

    fn resolves(&self, remaining_path: &str) -> bool {
        self.find(remaining_path).is_some()
    }
}

impl fmt::Debug for UrlRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|route| &route.pattern)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consumers::testing::{Unexpected, WebsocketCommunicator};
    use consumers::{Context, Frame, NoEvents, Result};

    /// Says its name and its parameters.
    struct Teller(String);

    impl WebsocketConsumer for Teller {
        type Incoming = Frame;
        type Event = NoEvents;

        async fn connect(&mut self, ctx: &mut Context) -> Result {
            ctx.accept().await?;
            ctx.send(Frame::text(self.0.clone())).await
        }

        async fn receive(&mut self, _: &mut Context, _: Frame) -> Result {
            Ok(())
        }
    }

    fn teller(name: &'static str, params: &'static [&'static str]) -> impl Fn(&Scope) -> Result<Teller> {
        move |scope| {
            let values = params.iter().map(|param| scope.param::<String>(param));
            let values = values.collect::<Result<Vec<_>>>()?;
            Ok(Teller(format!("{name}({})", values.join(","))))
        }
    }

    async fn told(router: &UrlRouter, path: &str) -> String {
        let mut client = WebsocketCommunicator::new(router.clone(), path);
        match client.connect().await {
            Ok(_) => String::from_utf8(client.receive().await.unwrap().payload().to_vec()).unwrap(),
            Err(Unexpected::Denied(denial)) => denial.status.as_u16().to_string(),
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_match_wins_and_the_unknown_is_404() {
        let router = UrlRouter::new()
            .route("/a/", teller("first", &[]))
            .route("/a/", teller("second", &[]))
            .route("/b/{id:int}/", teller("number", &["id"]))
            .route("/b/{name}/", teller("name", &["name"]))
            .route("", teller("root", &[]));
        for (path, expected) in [
            ("/a/", "first()"),
            ("/b/7/", "number(7)"),
            ("/b/x/", "name(x)"),
            ("/b/%C3%A9/?q=1", "name(é)"),
            ("/", "root()"),
            ("/a", "404"),
            ("/a/b", "404"),
        ] {
            assert_eq!(told(&router, path).await, expected, "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn routers_nest_and_the_outer_goes_on_when_the_inner_has_no_match() {
        let innermost = UrlRouter::new().route("{c}/", teller("deep", &["a", "b", "c"]));
        let inner = UrlRouter::new().route("x/", teller("x", &["a"])).mount("{b}/", innermost);
        let router = UrlRouter::new()
            .mount("/{a:int}/", inner)
            .route("/{a:int}/y/z/w/", teller("next", &["a"]))
            .mount("/same/{a}/", UrlRouter::new().route("{a}/", teller("same", &["a"])))
            .mount("/end/", application(teller("end", &[])));
        for (path, expected) in [
            ("/1/x/", "x(1)"),
            ("/1/y/z/", "deep(1,y,z)"),
            ("/1/y/z/w/", "next(1)"),
            ("/end/", "end()"),
            ("/end/more", "404"),
            ("/1/", "404"),
            ("/same/2/3/", "same(3)"),
        ] {
            assert_eq!(told(&router, path).await, expected, "{path}");
        }
    }

    #[derive(Clone)]
    struct Note(String);

    /// Appends to a note in the scope, or refuses when the query asks for that.
    struct Add(&'static str);

    #[async_trait::async_trait]
    impl Middleware for Add {
        async fn handshake(&self, scope: &mut Scope) -> Result {
            let before = scope.extension::<Note>().map_or_else(String::new, |note| note.0.clone());
            scope.insert(Note(before + self.0));
            match scope.query("refuse").as_deref() == Some(self.0) {
                true => Err(Denial::new(StatusCode::IM_A_TEAPOT, "").into()),
                false => Ok(()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn middleware_runs_from_the_outside_in_and_may_refuse() {
        let noted = |scope: &Scope| Ok(Teller(scope.extension::<Note>().unwrap().0.clone()));
        let inner = UrlRouter::new().with(Add("c")).route("in/", noted);
        let router = UrlRouter::new().with(Add("a")).with(Add("b")).mount("/", inner);
        assert_eq!(told(&router, "/in/").await, "abc");
        assert_eq!(told(&router, "/in/?refuse=b").await, "418");
        assert_eq!(told(&router, "/out/?refuse=b").await, "404");
    }

    #[test]
    #[should_panic(expected = "no converter")]
    fn a_broken_pattern_is_found_at_start() {
        let _ = UrlRouter::new().route("/{x:y}/", teller("", &[]));
    }
}

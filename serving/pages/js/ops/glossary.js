// What every number on the page means, and what to do when it is bad. One entry for each term; `help.js` shows them.

export const TERMS = {
  // servers
  broker: { label: "Broker", means: "Kafka: takes every event before anything else does.", bad: "Down: the API answers 503 and clients send again; nothing accepted is lost with an external Kafka. The embedded broker forgets all when it stops, and starts empty. See its log in var/log." },
  redis: { label: "Redis", means: "Holds the features of viewers and videos.", bad: "Down: pages are made from the viewers in memory, and flows wait; they write what is missing when it is back." },
  triton: { label: "Triton", means: "Runs the models that look into uploaded videos.", bad: "Down: a new video is known by its title only; its frames are perceived when Triton is back." },
  api: { label: "API", means: "This node: answers viewers' apps and this page.", bad: "Down: apps keep their events and send them again. The supervisor starts it again." },
  supervisor: { label: "Supervisor", means: "`headwater up`: starts again what dies, waiting longer after each death.", bad: "Away: nothing starts again by itself. Processes started one by one have none; then your service manager does that." },
  towers: { label: "Towers", means: "Find videos by what viewers watched (`headwater learn towers`): the version that serves, and since when.", bad: "Refused: a newer version can't be loaded; the one before serves on until another is learned." },
  ranker: { label: "Ranker", means: "Ranks by what viewers will do with a video (`headwater learn ranker`): the version that serves, and since when.", bad: "Refused: a newer version can't be loaded; the one before, or the value by hand, serves on until another is learned." },
  agent: { label: "Agent", means: "Plans for viewers as they would choose (`headwater learn agent`): the adapter that serves, and since when.", bad: "Refused: a newer one can't be loaded; the one before still serves, or interests do." },
  answered: { label: "Answer time", means: "How long the server took to answer the last check.", bad: "More than a few ms on one machine: it is short of CPU, or of memory and swapping." },

  // now
  accepted: { label: "Events accepted", means: "Events that the API took and the broker has, since the API's start.", bad: "Standing still while apps send: look for 503s, and at the broker." },
  events_per_s: { label: "Events", means: "Events a second that each topic is given, over the last 5 s.", bad: "A topic that fell silent while others move: the flow that writes it has stopped." },
  interactions_per_s: { label: "Interactions", means: "Events a second that viewers' apps send, over the last 5 s: impressions, taps, watch time, instructions.", bad: "Zero while people watch: apps cannot reach the API, or their keys lack the scope 'ingest'." },
  freshness: { label: "Freshness", means: "From the broker's acceptance of a tap until its features can be read: half of all taps (p50) and all but one in a hundred (p99). Budget: 25 ms and 100 ms.", bad: "Over budget: look at the lag of profile and its CPU; give it more workers or partitions." },
  freshness_p50: { label: "Freshness p50", means: "Half of all taps are readable features this soon after the broker accepted them. Budget 25 ms. In the row of perceive: uploads.", bad: "Over budget: the profile flow is short of CPU, or Redis answers slowly." },
  freshness_p99: { label: "Freshness p99", means: "All but one in a hundred taps are readable features this soon after the broker accepted them. Budget 100 ms. In the row of perceive: uploads, budget 300 ms.", bad: "Over budget: look at the lag of profile and its CPU; give it more workers (-w) and the topic more partitions." },
  lag: { label: "Lag", means: "Events that the broker holds and the flow has not taken yet.", bad: "Growing for more than a minute: the flow is too slow or stands still. After a restart it grows, then falls: that is the catching up." },
  feed_p99: { label: "Feed p99", means: "All but one in a hundred pages were made in this time, over the last 10 s. Budget 25 ms.", bad: "Over budget: see which stage takes the time under Feed by stage." },
  feed_latency: { label: "Feed latency", means: "Time to make a page, from request to answer: half of all (p50) and all but one in a hundred (p99). Budget of the p99: 25 ms.", bad: "Over budget: see which stage takes the time under Feed by stage; fewer candidates (feed.source_size) cost less." },
  pages_per_s: { label: "Pages", means: "Pages of the feed served a second.", bad: "Zero while people watch: look at the API's health and its errors." },
  feed_errors: { label: "Feed errors", means: "Feed requests a second that failed, over the last 10 s.", bad: "Any: the API's log says why. An app shows the page it has and asks again." },
  slates_lost: { label: "Slates lost", means: "Pages whose record found the queue to the broker full: they were served, but no feedback can be learned from them.", bad: "Growing: the broker is down or too slow." },
  dead_letters_open: { label: "Open dead letters", means: "Inputs that could not be used and were not sent again yet.", bad: "Read the reason below; fix its cause at the producer or in the code, then replay." },

  // flows
  state: { label: "State", means: "What the flow says of itself every second. Silent: no word for 5 s. Restarting: the supervisor starts it again.", bad: "Silent for long: see its log in var/log. Its events wait in the broker, none is lost." },
  flow_events: { label: "Events", means: "Events a second that this flow took from its topics.", bad: "Zero while its lag grows: it stands still; see its log in var/log." },
  restarts: { label: "Restarts", means: "How often the supervisor started it again since its own start.", bad: "Growing: it dies again and again; the supervisor waits longer each time. Its log in var/log ends with the cause." },
  uptime: { label: "Uptime", means: "How long the process has been running.", bad: "Short without a deploy: it was started again; the timeline says when." },
  memory: { label: "Memory", means: "Resident memory of the process, its workers included.", bad: "Growing for hours with an even load: a leak; restart it, nothing is lost, and tell us." },
  cpu: { label: "CPU", means: "Share of one core used over the last second; above 100% more than one core.", bad: "Near 100% a worker with lag growing: give the flow more workers (-w)." },
  flow_dead_letters: { label: "Dead letters", means: "Inputs this flow could not use and that were not replayed yet.", bad: "The table below has each with its reason." },

  // catalogue
  catalogue_size: { label: "Catalogue size", means: "Videos and live rooms that this node can show now. A video is new until its exploration budget is spent.", bad: "Falling without takedowns: videos grow older than feed.max_age_h and no new ones come." },
  videos: { label: "Videos", means: "Videos and live rooms that this node can show now.", bad: "Zero: nothing was uploaded, or the API still reads the topic perceptions." },
  live_rooms: { label: "Live rooms", means: "Live rooms that are on air now.", bad: "Rooms that ended but stay: their producer sent no LiveEnded." },
  new_videos: { label: "New videos", means: "Videos with exploration budget left: shown to matching viewers until it is known how good they are.", bad: "Growing without end: more is uploaded than viewers can explore; raise the places kept for new videos." },
  authors: { label: "Authors", means: "Different authors in the catalogue.", bad: "Few: the feed cannot keep their videos apart." },
  exposure_gini: { label: "Exposure Gini", means: "How unevenly authors are shown: 0, each as often as any; 1, one author has every impression. Of impressions on all nodes, halved each day.", bad: "Rising: a few authors take the feed; set feed.fairness.author_gini." },
  served_gini: { label: "Served Gini", means: "How unevenly this node showed authors lately, halved each feed.fairness.half_life_s; authors never shown count. Beside it the target, where feed.fairness.author_gini sets one.", bad: "Above its target for long: the author weight is at its most (feed.fairness.max_author_weight), or too few pages are served to show every author." },
  served_new_share: { label: "New videos' share", means: "Share of what this node showed lately that was new when it was shown, in kept places or not. Beside it the target, where feed.fairness.new_share sets one.", bad: "Below its target for long: there are too few new videos that fit viewers, or feed.fairness.max_places are kept already. Above it: value alone puts as many there." },
  kept_places: { label: "Kept places", means: "Places of ten that are kept for new videos, as feed.cold_start says or the target of their share asks. A fraction is kept by chance.", bad: "At feed.fairness.max_places for long: the target is out of reach." },
  author_weight: { label: "Author weight", means: "The most that an author's exposure adds to a video's value, or takes from it. 0 without a target.", bad: "At feed.fairness.max_author_weight for long: the target is out of reach." },
  ages: { label: "Age of the catalogue", means: "Videos by time since their upload.", bad: "Nothing young: uploads do not arrive or are not perceived; see the flow perceive." },
  exploration: { label: "Exploration", means: "Impressions spent of the budget that every new video gets, so that its quality becomes known.", bad: "Stuck at 0 for minutes: no viewer's interests match, or its title says nothing." },
  success: { label: "Success", means: "Smoothed share of impressions that ended well (watched, liked, shared); it starts at 20%, weakly held.", bad: "Low: viewers skip it; it gets no more than its budget." },
  stage: { label: "Perceived", means: "How far the video is understood: from its title at once, from its frames within seconds.", bad: "'title' for long with media: Triton is down or busy." },
  age: { label: "Age", means: "Time since the upload." },

  // feed
  feed_stages: { label: "Feed by stage", means: "Mean time of each stage of a page over the last minute, and how many candidates go in and come out.", bad: "One bar much longer than usual: that stage is why pages are slow; feed.off leaves a stage out." },
  memory_by_process: { label: "Memory by process", means: "Resident memory of each process.", bad: "A line that never flattens under an even load is a leak." },

  // experiments
  experiments: { label: "Experiments", means: "Viewers drawn into arms, whose pages are made by other options of the feed, and what came of it. The intervals hold however often you look.", bad: "Sizes that do not fit the shares, or a broken guardrail: take the experiment out of experiments.running." },
  experiment_difference: { label: "Difference to control", means: "In per cent of control's mean, with an interval that is right at all looks together, and by viewers. An interval without 0 is a difference.", bad: "Wide for long: too few viewers, or the difference is too small to matter." },
  guardrail: { label: "Guardrail", means: "What the arm must not cost. Broken: it is shown to be worse than control's by more than is allowed. Kept: it is shown not to be.", bad: "Broken: stop the arm." },
  metric_reward: { label: "Reward", means: "What a place that was looked at earned: a video watched to its end is 1, a like 0.5, a skip -0.5, a report -10." },
  metric_watch_s: { label: "Watch time", means: "Seconds watched of a video that was looked at." },
  metric_completes: { label: "Completes", means: "Share of videos looked at that were watched to their end." },
  metric_likes: { label: "Likes", means: "Share of videos looked at that were liked." },
  metric_skips: { label: "Skips", means: "Share of videos looked at that were skipped: fewer are better." },
  metric_reports: { label: "Reports", means: "Share of videos looked at that were reported: fewer are better." },

  // learning
  learning: { label: "Learning", means: "What serves of each model, and what was decided about what it learned. Whatever passes the gate was measured to be better on the newest feedback.", bad: "Refused again and again: its reason is below. headwater releases rollback takes back what serves." },
  pinned: { label: "Pinned", means: "This version serves, whatever is learned, until headwater releases unpin." },
  canary: { label: "Canary", means: "A newer version that only a share of viewers gets (learning.canary_share) until it has shown itself. Surely worse it is rolled back on its own, else all get it after learning.canary_s.", bad: "An interval below 0: it is rolled back within a minute." },
  decision: { label: "Decision", means: "What became of it. Refused: the gate did not let it pass. Held back: it passed, but a version is pinned or a canary runs. Rolled back: it serves nobody, and is not released again." },
  learning_run: { label: "Newest run of the agent's learning", means: "What the agent's language model learned from: first answers to imitate (SFT), then answers of its own and what they were worth (GRPO)." },
  learning_reward: { label: "Reward and its parts", means: "What the model's answers were worth in the mean, and each part of it before it is weighed.", bad: "Form or another part grows while accuracy falls: it learns to please the measure." },
  learning_loss: { label: "Loss", means: "How badly the answers to imitate are predicted; held out: of questions that it does not learn from.", bad: "Held out rises while the loss falls: it learns by heart." },
  learning_kl: { label: "KL", means: "How far the model has gone from the one that it began as.", bad: "Climbing without end: it forgets what it knew; a larger weight of the KL holds it." },
  learning_length: { label: "Length of answers", means: "Tokens of an answer in the mean.", bad: "Growing without a better reward: it talks for the sake of talking." },
  learning_dropped: { label: "Dropped groups", means: "Share of questions whose answers were all worth the same, so that nothing is learned from them.", bad: "Near 100%: the questions are too easy or too hard." },

  // letters and purges
  dead_letters: { label: "Dead letters", means: "Input that could not be used, kept with its reason, origin and bytes. It stopped nothing else.", bad: "Fix the cause, then replay: what was counted already counts once all the same." },
  purges: { label: "Takedowns and erasures", means: "What each store proved about a video taken down or a viewer forgotten. Purged: it is gone. Pending: no answer yet. Expires: the store forgets by its retention.", bad: "Pending for more than a minute: the flow that owns the store is down; it purges when it is back." },
  timeline: { label: "What happened", means: "Restarts, outages, dead letters, takedowns and erasures, newest first. Outages are those seen since this page was opened." },
};

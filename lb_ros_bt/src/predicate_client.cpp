#include "lb_ros_bt/predicate_client.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "behaviortree_cpp/exceptions.h"
#include "rclcpp/event_handler.hpp"

namespace lb_ros_bt
{

namespace
{
using Lock = std::lock_guard<std::recursive_mutex>;

// As lb_ros.qos.STATES: the publisher asserts its liveliness while its executor runs.
constexpr std::chrono::seconds kLiveliness{2};

std::string full_name(const std::string & name_space, const std::string & name)
{
  // Relative without a namespace, so that it follows that of the node.
  if (name_space.empty()) {
    return name;
  }
  return (name_space.front() == '/' ? "" : "/") + name_space + "/" + name;
}
}  // namespace

std::shared_ptr<PredicateClient> PredicateClient::shared(
  const rclcpp::Node::SharedPtr & node, const std::string & name_space)
{
  static std::mutex mutex;
  static std::map<std::pair<rclcpp::Node *, std::string>, std::weak_ptr<PredicateClient>> clients;
  std::lock_guard<std::mutex> lock(mutex);
  auto & known = clients[{node.get(), name_space}];
  auto found = known.lock();
  if (!found) {
    found = std::make_shared<PredicateClient>(node, name_space);
    known = found;
  }
  return found;
}

std::shared_ptr<PredicateClient> PredicateClient::of(const BT::TreeNode & tree_node)
{
  auto * blackboard = tree_node.config().blackboard->rootBlackboard();
  rclcpp::Node::SharedPtr node;
  if (!blackboard->get("node", node) || !node) {
    throw BT::RuntimeError(
            tree_node.name(), ": the blackboard has no rclcpp::Node::SharedPtr at 'node'; nav2 sets "
            "it, in a program of your own call blackboard->set(\"node\", node)");
  }
  const auto name_space = tree_node.getInput<std::string>("namespace");
  return shared(node, name_space ? name_space.value() : "");
}

PredicateClient::PredicateClient(
  const rclcpp::Node::SharedPtr & node, const std::string & name_space)
: node_(node),
  // In an executor of its own: nobody has to spin the node, and no tick waits for one that does.
  group_(node->create_callback_group(rclcpp::CallbackGroupType::MutuallyExclusive, false)),
  action_(rclcpp_action::create_client<Wait::Action>(
      node, full_name(name_space, "wait_for"), group_))
{
  subscribe(full_name(name_space, "predicates/state"));
  executor_.add_callback_group(group_, node_->get_node_base_interface());
}

void PredicateClient::subscribe(const std::string & topic)
{
  const auto latched = rclcpp::QoS(1).reliable().transient_local();
  const auto alive = rclcpp::QoS(latched)
    .liveliness(rclcpp::LivelinessPolicy::ManualByTopic).liveliness_lease_duration(kLiveliness);
  const auto callback = [this](const lb_ros::msg::PredicateStates & message) {store(message);};
  rclcpp::SubscriptionOptions options;
  options.callback_group = group_;
  options.event_callbacks.liveliness_callback = [this](rclcpp::QOSLivelinessChangedInfo & info) {
      change_liveliness(info.alive_count, info.alive_count_change, info.not_alive_count_change);
    };
  try {
    subscription_ =
      node_->create_subscription<lb_ros::msg::PredicateStates>(topic, alive, callback, options);
  } catch (const rclcpp::UnsupportedEventTypeException &) {
    has_liveliness_ = false;  // this middleware only shows the graph
    options.event_callbacks.liveliness_callback = nullptr;
    subscription_ =
      node_->create_subscription<lb_ros::msg::PredicateStates>(topic, latched, callback, options);
  }
}

void PredicateClient::update()
{
  Lock lock(mutex_);
  executor_.spin_some();
  if (!has_liveliness_) {
    look_at_graph();
  }
}

void PredicateClient::store(const lb_ros::msg::PredicateStates & message)
{
  PredicateStates::Map states;
  for (const auto & each : message.states) {
    const auto since_ns = each.since.sec * std::int64_t{1'000'000'000} + each.since.nanosec;
    states[each.name] =
      Status{static_cast<State>(each.state), each.probability, since_ns, each.reason};
  }
  // Of many predicates the message holds arrays instead.
  const auto count = std::min({
      message.names.size(), message.values.size(), message.probabilities.size(),
      message.since_ns.size(), message.reasons.size()});
  for (std::size_t i = 0; i < count; ++i) {
    states[message.names[i]] =
      Status{static_cast<State>(message.values[i]), message.probabilities[i], message.since_ns[i],
      message.reasons[i]};
  }
  Lock lock(mutex_);
  states_.store(std::move(states));
}

void PredicateClient::change_liveliness(int alive, int alive_change, int not_alive_change)
{
  Lock lock(mutex_);
  if (alive_change < 0 || not_alive_change > 0) {
    ++losses_;
  }
  if (alive > 0) {
    states_.find_again();
  } else if (states_.lost().empty() && losses_ > 0) {
    states_.lose("the node that publishes the states stopped or died; start it again");
  }
}

void PredicateClient::look_at_graph()
{
  if (subscription_->get_publisher_count() > 0) {
    states_.find_again();
  } else if (states_.heard()) {
    ++losses_;
    states_.lose("the node that publishes the states stopped or died; start it again");
  }
}

Verdict PredicateClient::condition(
  const std::string & predicate, State wanted, BT::NodeStatus unknown) const
{
  Lock lock(mutex_);
  return states_.condition(predicate, wanted, unknown);
}

std::optional<Status> PredicateClient::find(const std::string & predicate) const
{
  Lock lock(mutex_);
  return states_.find(predicate);
}

bool PredicateClient::heard() const
{
  Lock lock(mutex_);
  return states_.heard();
}

std::string PredicateClient::lost() const
{
  Lock lock(mutex_);
  return states_.lost();
}

std::size_t PredicateClient::losses() const
{
  Lock lock(mutex_);
  return losses_;
}

std::shared_ptr<Wait> PredicateClient::send(const Wait::Action::Goal & goal)
{
  Lock lock(mutex_);
  auto wait = std::make_shared<Wait>();
  wait->losses = losses_;
  rclcpp_action::Client<Wait::Action>::SendGoalOptions options;
  options.goal_response_callback = [this, wait](const Wait::Handle::SharedPtr & handle) {
      wait->handle = handle;
      wait->is_rejected = handle == nullptr;
      if (handle && wait->is_cancelled) {  // cancelled before it was accepted
        action_->async_cancel_goal(handle);
      }
    };
  options.feedback_callback =
    [wait](const Wait::Handle::SharedPtr &,
      const std::shared_ptr<const Wait::Action::Feedback> feedback) {
      wait->probability = feedback->probability;
    };
  options.result_callback = [wait](const Wait::Handle::WrappedResult & found) {
      if (found.result) {
        wait->result = *found.result;
        wait->probability = found.result->probability;
      }
    };
  action_->async_send_goal(goal, options);
  return wait;
}

void PredicateClient::cancel(const std::shared_ptr<Wait> & wait)
{
  Lock lock(mutex_);
  wait->is_cancelled = true;
  if (wait->handle && !wait->result) {
    action_->async_cancel_goal(wait->handle);
  }
}

Wait PredicateClient::look(const std::shared_ptr<Wait> & wait) const
{
  Lock lock(mutex_);
  return *wait;
}

}  // namespace lb_ros_bt

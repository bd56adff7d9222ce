// The nodes in real trees, against a stand-in for the predicates node in another rclcpp node.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "behaviortree_cpp/bt_factory.h"
#include "lb_ros/action/wait_for_predicate.hpp"
#include "lb_ros/msg/predicate_states.hpp"
#include "lb_ros_bt/predicate_client.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_action/rclcpp_action.hpp"

namespace
{
using Action = lb_ros::action::WaitForPredicate;
using Goals = std::vector<std::shared_ptr<rclcpp_action::ServerGoalHandle<Action>>>;
using States = lb_ros::msg::PredicateStates;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kLimit{20};
constexpr milliseconds kTick{500};  // far more than a tick takes, less than any wait for an answer

/// Publishes states and accepts goals, with the QoS of lb_ros.
class Server
{
public:
  Server()
  : node_(std::make_shared<rclcpp::Node>("predicates"))
  {
    states_ = node_->create_publisher<States>(
      "predicates/state", rclcpp::QoS(1).reliable().transient_local()
      .liveliness(rclcpp::LivelinessPolicy::ManualByTopic)
      .liveliness_lease_duration(std::chrono::seconds(2)));
    action_ = rclcpp_action::create_server<Action>(
      node_, "wait_for",
      [this](const rclcpp_action::GoalUUID &, std::shared_ptr<const Action::Goal> goal) {
        requests.push_back(*goal);
        return rclcpp_action::GoalResponse::ACCEPT_AND_EXECUTE;
      },
      [this](const Goals::value_type &) {
        ++cancelled;
        return rclcpp_action::CancelResponse::ACCEPT;
      },
      [this](const Goals::value_type & handle) {goals.push_back(handle);});
    executor_.add_node(node_);
  }

  ~Server() {executor_.remove_node(node_);}

  void publish(const std::string & name, std::uint8_t state, const std::string & reason)
  {
    States message;
    message.states.resize(1);
    message.states[0].name = name;
    message.states[0].state = state;
    message.states[0].probability = 0.75F;
    message.states[0].since.sec = 7;
    message.states[0].reason = reason;
    states_->publish(message);
  }

  void end(std::uint8_t code, const std::string & message)
  {
    auto result = std::make_shared<Action::Result>();
    result->code = code;
    result->reached = code == Action::Result::REACHED;
    result->message = message;
    result->probability = 0.9F;
    result->state.reason = "depth 0.9";
    if (result->reached) {
      goals.back()->succeed(result);
    } else {
      goals.back()->abort(result);
    }
  }

  /// As a node whose executor runs; without it the node counts as dead two seconds later.
  void spin()
  {
    EXPECT_TRUE(states_->assert_liveliness());
    executor_.spin_some();
  }

  std::vector<Action::Goal> requests;
  Goals goals;
  int cancelled = 0;

private:
  rclcpp::Node::SharedPtr node_;
  rclcpp::Publisher<States>::SharedPtr states_;
  rclcpp_action::Server<Action>::SharedPtr action_;
  rclcpp::executors::SingleThreadedExecutor executor_;
};

class Nodes : public ::testing::Test
{
protected:
  static void SetUpTestSuite() {rclcpp::init(0, nullptr);}
  static void TearDownTestSuite() {rclcpp::shutdown();}

  void SetUp() override
  {
    node = std::make_shared<rclcpp::Node>("tree");
    blackboard = BT::Blackboard::create();
    blackboard->set("node", node);
    factory.registerFromPlugin(PLUGIN);
  }

  BT::Tree tree(const std::string & nodes)
  {
    return factory.createTreeFromText(
      "<root BTCPP_format=\"4\"><BehaviorTree ID=\"T\">" + nodes + "</BehaviorTree></root>",
      blackboard);
  }

  /// A tick, which must not have waited for anything.
  static BT::NodeStatus tick(BT::Tree & tree)
  {
    const auto began = steady_clock::now();
    const auto status = tree.tickExactlyOnce();
    EXPECT_LT(steady_clock::now() - began, kTick);
    return status;
  }

  /// Tick, and run the server where there is one, until the tree has the status.
  void until(BT::Tree & tree, BT::NodeStatus wanted, const std::string & reason = "")
  {
    until([&] {return tick(tree) == wanted && this->reason().find(reason) != std::string::npos;});
  }

  void until(const std::function<bool()> & holds)
  {
    const auto end = steady_clock::now() + kLimit;
    while (!holds()) {
      ASSERT_LT(steady_clock::now(), end) << reason();
      if (server) {
        server->spin();
      }
      std::this_thread::sleep_for(milliseconds(10));
    }
  }

  std::string reason() const
  {
    std::string text;
    return blackboard->get("reason", text) ? text : "";
  }

  rclcpp::Node::SharedPtr node;
  BT::Blackboard::Ptr blackboard;
  BT::BehaviorTreeFactory factory;
  std::unique_ptr<Server> server = std::make_unique<Server>();
};

/// Runs until it is halted.
class Act : public BT::StatefulActionNode
{
public:
  using BT::StatefulActionNode::StatefulActionNode;
  static BT::PortsList providedPorts() {return {};}
  BT::NodeStatus onStart() override {++started; return BT::NodeStatus::RUNNING;}
  BT::NodeStatus onRunning() override {return BT::NodeStatus::RUNNING;}
  void onHalted() override {++halted;}
  static inline int started = 0;
  static inline int halted = 0;
};

const char kCondition[] =
  "<PredicateCondition predicate=\"open\" unknown=\"RUNNING\" reason=\"{reason}\""
  " probability=\"{probability}\"/>";
const char kWait[] =
  "<WaitForPredicate predicate=\"open\" timeout_s=\"3\" reason=\"{reason}\""
  " probability=\"{probability}\"/>";
}  // namespace

TEST_F(Nodes, AConditionFollowsTheStates)
{
  auto condition = tree(kCondition);
  EXPECT_EQ(tick(condition), BT::NodeStatus::RUNNING);
  server->publish("open", 2, "depth 0.75");
  until(condition, BT::NodeStatus::SUCCESS, "open is TRUE: depth 0.75");
  EXPECT_DOUBLE_EQ(blackboard->get<double>("probability"), 0.75);
  server->publish("open", 1, "depth 0.1");
  until(condition, BT::NodeStatus::FAILURE, "open is FALSE: depth 0.1");
  server->publish("open", 0, "depth silent");
  until(condition, BT::NodeStatus::RUNNING, "depth silent");
  server->publish("another", 2, "");
  until(condition, BT::NodeStatus::FAILURE, "no predicate 'open' is scored");
}

TEST_F(Nodes, ANodeThatDiesFailsTheTreeAndANewOneServesIt)
{
  auto condition = tree(kCondition);
  server->publish("open", 2, "depth 0.75");
  until(condition, BT::NodeStatus::SUCCESS);
  server.reset();
  until(condition, BT::NodeStatus::FAILURE, "stopped or died");
  server = std::make_unique<Server>();
  server->publish("open", 2, "depth 0.75");
  until(condition, BT::NodeStatus::SUCCESS);
}

TEST_F(Nodes, ANodeThatHangsFailsTheTree)
{
  auto both = tree(std::string("<Sequence>") + kWait + "</Sequence>");
  server->publish("open", 1, "depth 0.1");
  until([&] {tick(both); return !server->goals.empty();});
  const auto hung = std::move(server);  // it lives, and does nothing more
  until(both, BT::NodeStatus::FAILURE, "stopped or died");
}

TEST_F(Nodes, AGuardedActionIsHalted)
{
  Act::started = Act::halted = 0;
  factory.registerNodeType<Act>("Act");
  auto guarded = tree(std::string("<ReactiveSequence>") + kCondition + "<Act/></ReactiveSequence>");
  server->publish("open", 2, "depth 0.75");
  until([&] {tick(guarded); return Act::started == 1;});
  EXPECT_EQ(Act::halted, 0);
  server->publish("open", 1, "depth 0.1");
  until(guarded, BT::NodeStatus::FAILURE, "open is FALSE");
  EXPECT_EQ(Act::halted, 1);
}

TEST_F(Nodes, AWaitEndsAsTheNodeSays)
{
  struct Case {std::uint8_t code; const char * message; BT::NodeStatus status;};
  const Case cases[] = {
    {Action::Result::REACHED, "", BT::NodeStatus::SUCCESS},
    {Action::Result::TIMEOUT, "open still FALSE after 3.0 s", BT::NodeStatus::FAILURE},
    {Action::Result::UNKNOWN_PREDICATE, "no predicate 'open'", BT::NodeStatus::FAILURE},
    {Action::Result::NOT_ACTIVE, "predicates is not active", BT::NodeStatus::FAILURE},
    {0, "another has started", BT::NodeStatus::FAILURE},
  };
  for (const auto & each : cases) {
    auto wait = tree(kWait);
    server->goals.clear();
    until([&] {EXPECT_EQ(tick(wait), BT::NodeStatus::RUNNING); return !server->goals.empty();});
    EXPECT_EQ(server->requests.back().name, "open");
    EXPECT_EQ(server->requests.back().state, 2);
    EXPECT_FLOAT_EQ(server->requests.back().timeout_s, 3.0F);
    EXPECT_EQ(server->requests.back().since.sec, 0);
    server->end(each.code, each.message);
    until(wait, each.status, each.code ? each.message : "another has started");
    EXPECT_DOUBLE_EQ(blackboard->get<double>("probability"), static_cast<double>(0.9F));
  }
  EXPECT_EQ(server->cancelled, 0);
}

TEST_F(Nodes, AHaltedWaitIsCancelledAtTheNode)
{
  auto wait = tree(kWait);
  until([&] {tick(wait); return !server->goals.empty();});
  auto condition = tree(kCondition);  // shares the client, and so passes the cancellation on
  until([&] {tick(condition); tick(wait); return blackboard->get<double>("probability") > 0;});
  wait.haltTree();
  until([&] {tick(condition); return server->cancelled == 1;});
}

TEST_F(Nodes, AWaitForANewStateTellsTheNodeSinceWhen)
{
  server->publish("open", 2, "depth 0.75");
  auto wait = tree("<WaitForPredicate predicate=\"open\" new=\"true\"/>");
  until([&] {tick(wait); return !server->requests.empty();});
  EXPECT_EQ(server->requests.back().since.sec, 7);
}

TEST_F(Nodes, WithoutANodeAWaitFails)
{
  server.reset();
  auto wait = tree(
    "<WaitForPredicate predicate=\"open\" server_timeout_s=\"0.3\" reason=\"{reason}\"/>");
  EXPECT_EQ(tick(wait), BT::NodeStatus::RUNNING);
  until(wait, BT::NodeStatus::FAILURE, "is bringup running?");
}

TEST_F(Nodes, MistakesInATreeAreNamed)
{
  auto nameless = tree("<PredicateCondition/>");
  EXPECT_THROW(tick(nameless), BT::RuntimeError);
  auto wrong = tree("<PredicateCondition predicate=\"open\" state=\"maybe\"/>");
  EXPECT_THROW(tick(wrong), BT::RuntimeError);
  blackboard = BT::Blackboard::create();
  EXPECT_THROW(tree(kCondition), BT::RuntimeError);
}

TEST_F(Nodes, AllNodesOfATreeShareOneClient)
{
  auto both = tree(std::string("<Sequence>") + kCondition + kCondition + "</Sequence>");
  const auto one = lb_ros_bt::PredicateClient::shared(node, "");
  EXPECT_EQ(one.use_count(), 3);
}

TEST_F(Nodes, TheShippedTreesAreValid)
{
  for (const char * name : {"ComputePathToPose", "FollowPath"}) {
    factory.registerSimpleAction(
      name, [](BT::TreeNode &) {return BT::NodeStatus::SUCCESS;},
      {BT::InputPort<std::string>("goal"), BT::BidirectionalPort<std::string>("path")});
  }
  for (const char * file : {"fetch_from_drawer.xml", "wait_and_watch.xml"}) {
    EXPECT_NO_THROW(factory.createTreeFromFile(std::string(TREES) + "/" + file, blackboard));
  }
}
